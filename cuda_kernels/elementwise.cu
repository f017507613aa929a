// Each byte is moved once, so all are bound by memory bandwidth: a thread takes as many
// neighbouring elements as fit 16 bytes where pointers and count allow it, and the rest one by one.
//
// Sums: a fixed number of blocks takes the elements in turn and leaves a partial sum each, and one
// more block adds those, all in double; the order depends on the count alone.
#include "cuda_kernels/elementwise.h"

#include <tuple>

#include "core/cuda_launch.cuh"
#include "core/cuda_vector.cuh"
#include "core/element.h"
#include "cuda_kernels/common/reduce.cuh"

namespace rondo::cuda {
namespace {

// The maps: structs whose operator() computes N neighbouring results, from element i on.

// One operand's elements from i on, or its single one again and again.
template <int N, typename T>
__device__ void read(const Operand<T>& operand, std::int64_t i, ComputeType<T> (&to)[N]) {
  if (operand.single) {
    for (int j = 0; j < N; ++j) {
      to[j] = to_compute(*operand.data);
    }
  } else {
    load_vector<N>(operand.data + i, to);
  }
}

template <typename T>
struct AddSigned {
  Operand<T> a, b;
  ComputeType<T> sign;

  template <int N>
  __device__ void operator()(std::int64_t i, ComputeType<T> (&out)[N]) const {
    ComputeType<T> right[N];
    read(a, i, out);
    read(b, i, right);
    for (int j = 0; j < N; ++j) {
      out[j] += sign * right[j];
    }
  }
};

template <typename T>
struct Multiply {
  Operand<T> a, b;

  template <int N>
  __device__ void operator()(std::int64_t i, ComputeType<T> (&out)[N]) const {
    ComputeType<T> right[N];
    read(a, i, out);
    read(b, i, right);
    for (int j = 0; j < N; ++j) {
      out[j] *= right[j];
    }
  }
};

template <typename T>
struct Scale {
  const T* x;
  ComputeType<T> factor;
  const ComputeType<T>* alpha;  // one more factor; null for none

  template <int N>
  __device__ void operator()(std::int64_t i, ComputeType<T> (&out)[N]) const {
    const ComputeType<T> by = alpha != nullptr ? factor * *alpha : factor;
    load_vector<N>(x + i, out);
    for (int j = 0; j < N; ++j) {
      out[j] *= by;
    }
  }
};

template <typename T>
struct AddScaled {
  const T* x;
  const ComputeType<T>* alpha;
  const T* y;

  template <int N>
  __device__ void operator()(std::int64_t i, ComputeType<T> (&out)[N]) const {
    ComputeType<T> right[N];
    load_vector<N>(x + i, out);
    load_vector<N>(y + i, right);
    for (int j = 0; j < N; ++j) {
      out[j] += *alpha * right[j];
    }
  }
};

template <typename T>
struct Spread {
  const T* value;
  ComputeType<T> factor;

  template <int N>
  __device__ void operator()(std::int64_t, ComputeType<T> (&out)[N]) const {
    for (int j = 0; j < N; ++j) {
      out[j] = factor * to_compute(*value);
    }
  }
};

template <typename Function, typename T>
struct Activate {
  const T* x;

  template <int N>
  __device__ void operator()(std::int64_t i, ComputeType<T> (&out)[N]) const {
    load_vector<N>(x + i, out);
    for (int j = 0; j < N; ++j) {
      out[j] = Function::value(out[j]);
    }
  }
};

template <typename Function, typename T>
struct ActivateGradient {
  const T* grad_y;
  const T* kept;

  template <int N>
  __device__ void operator()(std::int64_t i, ComputeType<T> (&out)[N]) const {
    ComputeType<T> at[N];
    load_vector<N>(grad_y + i, out);
    load_vector<N>(kept + i, at);
    for (int j = 0; j < N; ++j) {
      out[j] = Function::gradient(out[j], at[j]);
    }
  }
};

// y = map, N elements a thread and the rest one by one.
template <int N, typename T, typename Map>
__global__ void map_kernel(Map map, T* y, std::int64_t count) {
  const std::int64_t vectors = count / N;
  for (std::int64_t v = first_item(); v < vectors; v += item_stride()) {
    ComputeType<T> out[N];
    map(v * N, out);
    store_vector<N>(out, y + v * N);
  }
  for (std::int64_t i = vectors * N + first_item(); i < count; i += item_stride()) {
    ComputeType<T> out[1];
    map(i, out);
    store_vector<1>(out, y + i);
  }
}

// Whether a thread can read (or write) 16 bytes of each at once.
template <typename... Pointers>
bool aligned(const Pointers*... pointers) {
  return ((reinterpret_cast<std::uintptr_t>(pointers) % kVectorBytes == 0) && ...);
}

template <typename T, typename Map>
void run(const char* op, const Map& map, bool vectors, T* y, std::int64_t count, Stream stream) {
  constexpr int kVector = vector_size<T>;
  if (vectors) {
    const std::int64_t threads = count / kVector + count % kVector;
    launch(op, map_kernel<kVector, T, Map>, grid_over(threads), stream, map, y, count);
  } else {
    launch(op, map_kernel<1, T, Map>, grid_over(count), stream, map, y, count);
  }
}

constexpr int kSumThreads = 256;

// The partial sum of each block: of a[i], or of a[i] b[i] where b is not null.
template <typename T>
__global__ void partial_sums_kernel(const T* a, const T* b, double* sums, std::int64_t count) {
  __shared__ double scratch[kWarpSize];
  double sum = 0.0;
  for (std::int64_t i = first_item(); i < count; i += item_stride()) {
    const auto left = static_cast<double>(to_compute(a[i]));
    sum += b != nullptr ? left * static_cast<double>(to_compute(b[i])) : left;
  }
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = sum;
  }
}

// *y = factor * (sums of all blocks). One block.
template <typename T>
__global__ void final_sum_kernel(const double* sums, int blocks, double factor, T* y) {
  __shared__ double scratch[kWarpSize];
  double sum = 0.0;
  for (int i = static_cast<int>(threadIdx.x); i < blocks; i += kSumThreads) {
    sum += sums[i];
  }
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) {
    *y = convert_element<T>(factor * sum);
  }
}

template <typename T, typename Result>
void reduce(const char* op, const T* a, const T* b, double factor, double* scratch, Result* y,
            std::int64_t count, Stream stream) {
  Grid grid = grid_over(count, kSumThreads);
  grid.blocks.x = std::min(grid.blocks.x, static_cast<unsigned>(kSumScratch));
  launch(op, partial_sums_kernel<T>, grid, stream, a, b, scratch, count);
  launch(op, final_sum_kernel<Result>, Grid{dim3(1), dim3(kSumThreads)}, stream, scratch,
         static_cast<int>(grid.blocks.x), factor, y);
}

}  // namespace

template <typename T>
void add_signed(Operand<T> a, Operand<T> b, double sign, T* y, std::int64_t count, Stream stream) {
  const bool vectors = (a.single || aligned(a.data)) && (b.single || aligned(b.data)) && aligned(y);
  run("add", AddSigned<T>{a, b, static_cast<ComputeType<T>>(sign)}, vectors, y, count, stream);
}

template <typename T>
void multiply(Operand<T> a, Operand<T> b, T* y, std::int64_t count, Stream stream) {
  const bool vectors = (a.single || aligned(a.data)) && (b.single || aligned(b.data)) && aligned(y);
  run("mul", Multiply<T>{a, b}, vectors, y, count, stream);
}

template <typename T>
void scale(const T* x, double factor, T* y, std::int64_t count, Stream stream) {
  run("scale", Scale<T>{x, static_cast<ComputeType<T>>(factor), nullptr}, aligned(x, y), y, count,
      stream);
}

template <typename T>
void scale_by(const T* x, const ComputeType<T>* alpha, T* y, std::int64_t count, Stream stream) {
  run("scale", Scale<T>{x, ComputeType<T>(1), alpha}, aligned(x, y), y, count, stream);
}

template <typename T>
void add_scaled(const T* x, const ComputeType<T>* alpha, const T* y, T* out, std::int64_t count,
                Stream stream) {
  run("add_scaled", AddScaled<T>{x, alpha, y}, aligned(x, y, out), out, count, stream);
}

template <typename T>
void spread(const T* value, double factor, T* y, std::int64_t count, Stream stream) {
  run("sum", Spread<T>{value, static_cast<ComputeType<T>>(factor)}, aligned(y), y, count, stream);
}

template <typename Function, typename T>
void activate(const T* x, T* y, std::int64_t count, Stream stream) {
  run("activate", Activate<Function, T>{x}, aligned(x, y), y, count, stream);
}

template <typename Function, typename T>
void activate_gradient(const T* grad_y, const T* kept, T* grad_x, std::int64_t count,
                       Stream stream) {
  run("activate", ActivateGradient<Function, T>{grad_y, kept}, aligned(grad_y, kept, grad_x),
      grad_x, count, stream);
}

template <typename T>
void sum(const T* x, double factor, double* scratch, T* y, std::int64_t count, Stream stream) {
  reduce<T>("sum", x, nullptr, factor, scratch, y, count, stream);
}

template <typename T>
void dot(const T* a, const T* b, double* scratch, ComputeType<T>* y, std::int64_t count,
         Stream stream) {
  reduce<T>("dot", a, b, 1.0, scratch, y, count, stream);
}

// Names every launcher of one type, so that the compiler makes them.
template <typename T>
struct Instances {
  static constexpr auto all =
      std::tuple(&add_signed<T>, &multiply<T>, &scale<T>, &scale_by<T>, &add_scaled<T>, &spread<T>,
                 &activate<Sigmoid, T>, &activate<Tanh, T>, &activate_gradient<Sigmoid, T>,
                 &activate_gradient<Tanh, T>, &activate<Gelu, T>, &activate_gradient<Gelu, T>,
                 &activate<Relu, T>, &activate_gradient<Relu, T>, &sum<T>, &dot<T>);
};
template struct Instances<float>;
template struct Instances<double>;
template struct Instances<bfloat16>;
template struct Instances<float16>;

}  // namespace rondo::cuda
