// The optimizer step, elementwise over all parameters:
//
//   norm = sqrt(sum g^2) / loss_scale         reads 4 bytes an element
//   (p, m, v) = step(g, p, m, v)              reads 16 and writes 12
//
// Both are bound by memory bandwidth, and a model has a hundred parameters of which many are short:
// one launch goes over all of them. A block takes a chunk of one parameter, found in a table; a
// thread takes four consecutive elements at a time, with loads of 16 bytes where the addresses
// allow it. Which thread takes which element does not depend on that, so the norm does not, either.
//
// The sum of squares is in double: nothing an f32 gradient holds overflows it, so a norm that is
// not finite means a gradient that is not.
#include "cuda_kernels/optimizer.h"

#include "core/cuda_launch.cuh"

namespace rondo::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kLanes = 4;

template <typename T>
struct alignas(16) Four {
  T lane[kLanes];
};

template <typename T>
__device__ bool aligned(const T* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}

// The four elements from `from` on, of which `count` exist; the others are 0.
template <typename T>
__device__ Four<T> load(const T* from, std::int64_t count, bool vector) {
  if (vector) {
    return *reinterpret_cast<const Four<T>*>(from);
  }
  Four<T> four{};
  for (int lane = 0; lane < kLanes; ++lane) {
    if (lane < count) {
      four.lane[lane] = from[lane];
    }
  }
  return four;
}

template <typename T>
__device__ void store(T* to, const Four<T>& four, std::int64_t count, bool vector) {
  if (vector) {
    *reinterpret_cast<Four<T>*>(to) = four;
    return;
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    if (lane < count) {
      to[lane] = four.lane[lane];
    }
  }
}

// The sum of every thread's `value`, for thread 0, in a fixed order.
__device__ double block_sum(double value) {
  __shared__ double sums[kThreads];
  sums[threadIdx.x] = value;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) {
      sums[threadIdx.x] += sums[threadIdx.x + half];
    }
  }
  return threadIdx.x == 0 ? sums[0] : 0.0;  // the others would read what it may still be writing
}

template <typename T>
__global__ void set_gradients_kernel(ParameterRow<T>* rows, std::int64_t first, std::int64_t count,
                                     GradientPointers<T> gradients) {
  for (std::int64_t i = first_item(); i < count; i += item_stride()) {
    rows[first + i].grad = gradients.grad[i];
  }
}

template <typename T>
__global__ void square_sums_kernel(ParameterTable<T> table, double* partials) {
  const ParameterChunk chunk = table.chunks[blockIdx.x];
  const ParameterRow<T> row = table.rows[chunk.row];
  const std::int64_t end = std::min(row.count, chunk.begin + kChunkElements);
  double sum = 0.0;
  if (row.grad != nullptr) {
    const bool vectors = aligned(row.grad);
    for (std::int64_t i = chunk.begin + kLanes * threadIdx.x; i < end; i += kLanes * kThreads) {
      const Four<T> g = load(row.grad + i, end - i, vectors && end - i >= kLanes);
      for (int lane = 0; lane < kLanes; ++lane) {
        const auto value = static_cast<double>(g.lane[lane]);
        sum += value * value;
      }
    }
  }
  const double total = block_sum(sum);
  if (threadIdx.x == 0) {
    partials[blockIdx.x] = total;
  }
}

// One block: threads take the partial sums in turn.
__global__ void norm_kernel(const double* partials, std::int64_t count, const StepState* state,
                            double* norm) {
  double sum = 0.0;
  for (std::int64_t i = threadIdx.x; i < count; i += kThreads) {
    sum += partials[i];
  }
  const double total = block_sum(sum);
  if (threadIdx.x == 0) {
    *norm = sqrt(total) / state->loss_scale;
  }
}

__global__ void loss_gradient_kernel(const StepState* state, double factor, float* to) {
  *to = static_cast<float>(factor * state->loss_scale);
}

template <typename T, typename Rule>
__global__ void prepare_step_kernel(Rule rule, StepRequest request, StepState* state,
                                    PreparedStep<typename Rule::template Step<T>>* prepared) {
  double grad_scale = request.grad_scale;
  prepared->taken = true;
  if (request.norm != nullptr) {
    grad_scale *= clip_factor(*request.norm, request.max_norm) / state->loss_scale;
    prepared->taken = admit_step(*state, *request.loss, *request.norm, request.adaptive);
  }
  if (prepared->taken) {
    prepared->step = rounded<T>(step_constants(rule, ++state->steps, request.lr, grad_scale));
  }
}

template <typename T>
__device__ void step_element(const AdamStep<T>& step, T grad, T& parameter, T& first, T& second) {
  adam_step(step, grad, parameter, first, second);
}

template <typename T>
__device__ void step_element(const SgdStep<T>& step, T grad, T& parameter, T& first,
                             T& /*second*/) {
  sgd_step(step, grad, parameter, first);
}

template <typename T, typename Step>
__global__ void update_parameters_kernel(ParameterTable<T> table,
                                         const PreparedStep<Step>* prepared) {
  if (!prepared->taken) {
    return;
  }
  const Step step = prepared->step;
  const ParameterChunk chunk = table.chunks[blockIdx.x];
  const ParameterRow<T> row = table.rows[chunk.row];
  const std::int64_t end = std::min(row.count, chunk.begin + kChunkElements);
  // A null pointer is aligned.
  const bool vectors =
      aligned(row.parameter) && aligned(row.grad) && aligned(row.first) && aligned(row.second);
  for (std::int64_t i = chunk.begin + kLanes * threadIdx.x; i < end; i += kLanes * kThreads) {
    const std::int64_t left = end - i;
    const bool vector = vectors && left >= kLanes;
    Four<T> p = load(row.parameter + i, left, vector);
    Four<T> m = load(row.first + i, left, vector);
    Four<T> v{};
    Four<T> g{};
    if (row.second != nullptr) {
      v = load(row.second + i, left, vector);
    }
    if (row.grad != nullptr) {
      g = load(row.grad + i, left, vector);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      step_element(step, g.lane[lane], p.lane[lane], m.lane[lane], v.lane[lane]);
    }
    store(row.parameter + i, p, left, vector);
    store(row.first + i, m, left, vector);
    if (row.second != nullptr) {
      store(row.second + i, v, left, vector);
    }
  }
}

Grid grid_of(std::int64_t chunks) { return {dim3(static_cast<unsigned>(chunks)), dim3(kThreads)}; }

}  // namespace

template <typename T>
void set_gradients(const ParameterTable<T>& table, std::int64_t first, std::int64_t count,
                   const GradientPointers<T>& gradients, Stream stream) {
  launch("optimizer", set_gradients_kernel<T>, grid_over(count), stream, table.rows, first, count,
         gradients);
}

template <typename T>
void grad_norm(const ParameterTable<T>& table, const StepState* state, double* partials,
               double* norm, Stream stream) {
  if (table.chunk_count > 0) {
    launch("grad_norm", square_sums_kernel<T>, grid_of(table.chunk_count), stream, table, partials);
  }
  launch("grad_norm", norm_kernel, grid_of(1), stream, partials, table.chunk_count, state, norm);
}

void loss_gradient(const StepState* state, double factor, float* to, Stream stream) {
  launch("loss_gradient", loss_gradient_kernel, Grid{dim3(1), dim3(1)}, stream, state, factor, to);
}

template <typename T, typename Rule>
void prepare_step(const Rule& rule, const StepRequest& request, StepState* state,
                  PreparedStep<typename Rule::template Step<T>>* prepared, Stream stream) {
  launch("optimizer", prepare_step_kernel<T, Rule>, Grid{dim3(1), dim3(1)}, stream, rule, request,
         state, prepared);
}

template <typename T, typename Rule>
void update_parameters(const ParameterTable<T>& table,
                       const PreparedStep<typename Rule::template Step<T>>* prepared,
                       Stream stream) {
  if (table.chunk_count > 0) {
    launch("optimizer", update_parameters_kernel<T, typename Rule::template Step<T>>,
           grid_of(table.chunk_count), stream, table, prepared);
  }
}

template void set_gradients(const ParameterTable<float>&, std::int64_t, std::int64_t,
                            const GradientPointers<float>&, Stream);
template void set_gradients(const ParameterTable<double>&, std::int64_t, std::int64_t,
                            const GradientPointers<double>&, Stream);
template void grad_norm(const ParameterTable<float>&, const StepState*, double*, double*, Stream);
template void grad_norm(const ParameterTable<double>&, const StepState*, double*, double*, Stream);

template void prepare_step<float>(const AdamRule&, const StepRequest&, StepState*,
                                  PreparedStep<AdamStep<float>>*, Stream);
template void prepare_step<double>(const AdamRule&, const StepRequest&, StepState*,
                                   PreparedStep<AdamStep<double>>*, Stream);
template void prepare_step<float>(const SgdRule&, const StepRequest&, StepState*,
                                  PreparedStep<SgdStep<float>>*, Stream);
template void prepare_step<double>(const SgdRule&, const StepRequest&, StepState*,
                                   PreparedStep<SgdStep<double>>*, Stream);

template void update_parameters<float, AdamRule>(const ParameterTable<float>&,
                                                 const PreparedStep<AdamStep<float>>*, Stream);
template void update_parameters<double, AdamRule>(const ParameterTable<double>&,
                                                  const PreparedStep<AdamStep<double>>*, Stream);
template void update_parameters<float, SgdRule>(const ParameterTable<float>&,
                                                const PreparedStep<SgdStep<float>>*, Stream);
template void update_parameters<double, SgdRule>(const ParameterTable<double>&,
                                                 const PreparedStep<SgdStep<double>>*, Stream);

}  // namespace rondo::cuda
