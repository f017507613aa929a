// with_u = q + u, with_v = q + v: reads q once and writes two results, 3 * rows * columns elements,
// and is bound by memory. A thread takes 16 neighbouring bytes where pointers and sizes allow it,
// else one element.
//
// scores = scale * r q: reads the rows of distances once for every stream, which the second-level
// cache serves, 4 * rows * positions kept * head_size bytes. A warp takes two distances of a row.
#include "cuda_kernels/relative_attention.h"

#include "cuda_kernels/common/rows_dot.cuh"

namespace rondo::cuda {
namespace {

template <int N, typename A>
__global__ void add_two_biases_kernel(const A* q, const ComputeType<A>* u, const ComputeType<A>* v,
                                      A* with_u, A* with_v, std::int64_t count,
                                      std::int64_t columns) {
  using C = ComputeType<A>;
  for (std::int64_t item = first_item(); item * N < count; item += item_stride()) {
    const std::int64_t i = item * N;
    const std::int64_t column = i % columns;  // columns are a multiple of N
    C query[N];
    C bias[N];
    C sum[N];
    load_vector<N>(q + i, query);
    load_vector<N>(u + column, bias);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      sum[j] = query[j] + bias[j];
    }
    store_vector<N>(sum, with_u + i);
    load_vector<N>(v + column, bias);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      sum[j] = query[j] + bias[j];
    }
    store_vector<N>(sum, with_v + i);
  }
}

constexpr int kThreads = 256;
constexpr int kPerBlock = 2 * (kThreads / kWarpSize);  // distances

template <bool vectors>
__global__ void __launch_bounds__(kThreads) distance_kernel(DistanceStep step) {
  const std::int64_t kept = min(step.count->positions, step.slots);
  const std::int64_t pieces = (step.slots + kPerBlock - 1) / kPerBlock;
  const std::int64_t row = blockIdx.x / pieces;
  const std::int64_t distance = blockIdx.x % pieces * kPerBlock + 2 * warp_index();
  if (distance >= kept) {
    return;  // a whole warp
  }
  const bool both = distance + 1 < kept;
  const float* const first = step.r + (row % step.heads * step.slots + distance) * step.head_size;
  const float* const rows[2] = {first, both ? first + step.head_size : first};
  const float* const q[1] = {step.q + row * step.head_size};
  float scores[2][1];
  rows_dot<vectors>(rows, q, step.head_size, scores);
  const int lane = lane_index();
  if (lane == 0 || (lane == 1 && both)) {
    step.scores[row * step.slots + distance + lane] =
        step.scale * (lane == 0 ? scores[0][0] : scores[1][0]);
  }
}

}  // namespace

template <typename A>
void add_two_biases(const A* q, const ComputeType<A>* u, const ComputeType<A>* v, A* with_u,
                    A* with_v, std::int64_t rows, std::int64_t columns, Stream stream) {
  constexpr int kVector = vector_size<A>;
  const std::int64_t count = rows * columns;
  const auto aligned = [](const void* pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer) % kVectorBytes == 0;
  };
  if (aligned(q) && aligned(u) && aligned(v) && aligned(with_u) && aligned(with_v) &&
      columns % kVector == 0) {
    launch("relative_attention", add_two_biases_kernel<kVector, A>, grid_over(count / kVector),
           stream, q, u, v, with_u, with_v, count, columns);
  } else {
    launch("relative_attention", add_two_biases_kernel<1, A>, grid_over(count), stream, q, u, v,
           with_u, with_v, count, columns);
  }
}

void distance_step(const DistanceStep& step, Stream stream) {
  const std::int64_t pieces = (step.slots + kPerBlock - 1) / kPerBlock;
  const Grid grid{dim3(static_cast<unsigned>(step.rows * pieces)), dim3(kThreads)};
  if (takes_vectors(step.q, step.head_size) && takes_vectors(step.r, step.head_size)) {
    launch("attention_step", distance_kernel<true>, grid, stream, step);
  } else {
    launch("attention_step", distance_kernel<false>, grid, stream, step);
  }
}

template void add_two_biases<float>(const float*, const float*, const float*, float*, float*,
                                    std::int64_t, std::int64_t, Stream);
template void add_two_biases<double>(const double*, const double*, const double*, double*, double*,
                                     std::int64_t, std::int64_t, Stream);
template void add_two_biases<bfloat16>(const bfloat16*, const float*, const float*, bfloat16*,
                                       bfloat16*, std::int64_t, std::int64_t, Stream);
template void add_two_biases<float16>(const float16*, const float*, const float*, float16*,
                                      float16*, std::int64_t, std::int64_t, Stream);

}  // namespace rondo::cuda
