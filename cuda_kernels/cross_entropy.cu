// nats = log(sum exp(x - m)) + m - x[target], and the gradient factor * (exp(x - m) / sum -
// onehot(target)), over each row x with its largest element m.
//
// The logits are read once and the gradient is written once: the speed of memory. Rows of a
// character model are short and, as 205 is odd, not aligned, so a warp takes a row, neighbouring
// lanes neighbouring elements, and keeps it in registers. A block takes a row that is longer than
// 256: one pass for m and the sum together (each thread rescales its sum when it meets a larger
// element), and one more, from cache where the row fits, for the gradient.
//
// Nats are double: the sum over rows then adds no error of its own. One block adds them up.
#include "cuda_kernels/cross_entropy.h"

#include <limits>

#include "core/cuda_vector.cuh"
#include "cuda_kernels/common/reduce.cuh"

namespace rondo::cuda {
namespace {

constexpr int kHeld = 8;  // elements of a row that a lane holds
constexpr int kMaxHeldRow = kHeld * kWarpSize;
constexpr int kRowsPerBlock = 4;
constexpr int kLongThreads = 512;
constexpr int kSumThreads = 1024;

// What a row comes down to: its largest element, and the sum of exponentials of the differences to
// it.
template <typename C>
struct RowSum {
  C largest, sum;
};

template <typename A>
__device__ bool target_exists(const CrossEntropy<A>& params, std::int64_t row) {
  return params.targets[row] >= 0 && params.targets[row] < params.v;
}

template <typename A>
__device__ double row_nats(const CrossEntropy<A>& params, std::int64_t row,
                           RowSum<ComputeType<A>> of_row) {
  if (!target_exists(params, row)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const auto at_target =
      static_cast<double>(to_compute(params.logits[row * params.v + params.targets[row]]));
  return std::log(static_cast<double>(of_row.sum)) +
         (static_cast<double>(of_row.largest) - at_target);
}

// What exponentials are multiplied by to become factor * softmax.
template <typename A>
__device__ ComputeType<A> gradient_scale(const CrossEntropy<A>& params, std::int64_t row,
                                         RowSum<ComputeType<A>> of_row) {
  using C = ComputeType<A>;
  return target_exists(params, row) ? static_cast<C>(params.factor) / of_row.sum
                                    : std::numeric_limits<C>::quiet_NaN();
}

template <typename A, bool kWantsGrad>
__global__ void __launch_bounds__(kRowsPerBlock* kWarpSize) held_kernel(CrossEntropy<A> params) {
  using C = ComputeType<A>;
  const std::int64_t row = std::int64_t{blockIdx.x} * kRowsPerBlock + warp_index();
  if (row >= params.rows) {
    return;  // a whole warp, and warps do not meet
  }
  const std::int64_t v = params.v;
  const A* from = params.logits + row * v;
  C x[kHeld];
  C largest = -std::numeric_limits<C>::infinity();
  for (int k = 0; k < kHeld; ++k) {
    const int i = k * kWarpSize + lane_index();
    x[k] = i < v ? to_compute(from[i]) : -std::numeric_limits<C>::infinity();
    largest = x[k] > largest ? x[k] : largest;
  }
  largest = warp_max(largest);
  C sum = C(0);
  for (int k = 0; k < kHeld; ++k) {
    if (k * kWarpSize + lane_index() < v) {
      x[k] = std::exp(x[k] - largest);
      sum += x[k];
    }
  }
  const RowSum<C> of_row{largest, warp_sum(sum)};
  if (lane_index() == 0) {
    params.nats[row] = row_nats(params, row, of_row);
  }
  if constexpr (kWantsGrad) {
    const C scale = gradient_scale(params, row, of_row);
    for (int k = 0; k < kHeld; ++k) {
      const int i = k * kWarpSize + lane_index();
      if (i < v) {
        const C at_target = i == params.targets[row] ? static_cast<C>(params.factor) : C(0);
        params.grad[row * v + i] = convert_element<A>(x[k] * scale - at_target);
      }
    }
  }
}

template <typename A>
__global__ void __launch_bounds__(kLongThreads) long_kernel(CrossEntropy<A> params) {
  using C = ComputeType<A>;
  __shared__ C scratch[kWarpSize];
  const std::int64_t row = blockIdx.x;
  const std::int64_t v = params.v;
  const A* from = params.logits + row * v;
  // Starting from the lowest number instead of -infinity: differences then exist.
  RowSum<C> mine{std::numeric_limits<C>::lowest(), C(0)};
  for (std::int64_t i = threadIdx.x; i < v; i += kLongThreads) {
    const C x = to_compute(from[i]);
    if (x > mine.largest) {
      mine.sum *= std::exp(mine.largest - x);
      mine.largest = x;
    }
    mine.sum += std::exp(x - mine.largest);
  }
  RowSum<C> of_row;
  of_row.largest = block_max(mine.largest, scratch);
  of_row.sum = block_sum(mine.sum * std::exp(mine.largest - of_row.largest), scratch);
  if (threadIdx.x == 0) {
    params.nats[row] = row_nats(params, row, of_row);
  }
  if (params.grad != nullptr) {
    const C scale = gradient_scale(params, row, of_row);
    for (std::int64_t i = threadIdx.x; i < v; i += kLongThreads) {
      const C at_target = i == params.targets[row] ? static_cast<C>(params.factor) : C(0);
      params.grad[row * v + i] =
          convert_element<A>(std::exp(to_compute(from[i]) - of_row.largest) * scale - at_target);
    }
  }
}

template <typename Total>
__global__ void __launch_bounds__(kSumThreads)
    sum_kernel(const double* nats, std::int64_t rows, double factor, Total* total) {
  __shared__ double scratch[kWarpSize];
  double sum = 0.0;
  for (std::int64_t row = threadIdx.x; row < rows; row += kSumThreads) {
    sum += nats[row];
  }
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) {
    *total = static_cast<Total>(factor * sum);
  }
}

template <typename A, int W>
__global__ void scale_kernel(A* values, std::int64_t count, const ComputeType<A>* factor) {
  using C = ComputeType<A>;
  const C by = *factor;
  if (by == C(1)) {
    return;
  }
  for (std::int64_t i = first_item() * W; i < count; i += item_stride() * W) {
    C value[W];
    load_vector<W>(values + i, value);
    for (C& element : value) {
      element *= by;
    }
    store_vector<W>(value, values + i);
  }
}

}  // namespace

template <typename A>
void cross_entropy(const CrossEntropy<A>& params, Stream stream) {
  if (params.rows == 0) {
    return;
  }
  if (params.v > kMaxHeldRow) {
    launch("cross_entropy", long_kernel<A>,
           Grid{dim3(static_cast<unsigned>(params.rows)), dim3(kLongThreads)}, stream, params);
    return;
  }
  const auto blocks = static_cast<unsigned>((params.rows + kRowsPerBlock - 1) / kRowsPerBlock);
  launch("cross_entropy", params.grad != nullptr ? held_kernel<A, true> : held_kernel<A, false>,
         Grid{dim3(blocks), dim3(kRowsPerBlock * kWarpSize)}, stream, params);
}

template <typename Total>
void sum_nats(const double* nats, std::int64_t rows, double factor, Total* total, Stream stream) {
  launch("cross_entropy", sum_kernel<Total>, Grid{dim3(1), dim3(kSumThreads)}, stream, nats, rows,
         factor, total);
}

template <typename A>
void scale_unless_one(A* values, std::int64_t count, const ComputeType<A>* factor, Stream stream) {
  constexpr std::int64_t kMaxBlocks = 1024;  // few, to be gone at once where there is nothing to do
  constexpr int kThreads = 256;
  const bool vectors = takes_vectors(values, count);
  const std::int64_t items = vectors ? count / vector_size<A> : count;
  launch("cross_entropy backward", vectors ? scale_kernel<A, vector_size<A>> : scale_kernel<A, 1>,
         grid_over(std::min(items, kMaxBlocks * kThreads), kThreads), stream, values, count,
         factor);
}

template void cross_entropy(const CrossEntropy<float>&, Stream);
template void cross_entropy(const CrossEntropy<double>&, Stream);
template void cross_entropy(const CrossEntropy<bfloat16>&, Stream);
template void cross_entropy(const CrossEntropy<float16>&, Stream);

template void sum_nats(const double*, std::int64_t, double, float*, Stream);
template void sum_nats(const double*, std::int64_t, double, double*, Stream);

template void scale_unless_one(float*, std::int64_t, const float*, Stream);
template void scale_unless_one(double*, std::int64_t, const double*, Stream);
template void scale_unless_one(bfloat16*, std::int64_t, const float*, Stream);
template void scale_unless_one(float16*, std::int64_t, const float*, Stream);

}  // namespace rondo::cuda
