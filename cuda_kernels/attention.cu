// weights = softmax(scores + masks), dropout on weights, and the gradient
// grad_scores = weights (grad_weights - sum weights grad_weights).
//
// Bytes: forward reads a score (4) and writes a weight (2 for half types, 4 for f32), and as many
// again with dropout; backward reads a weight and a gradient and writes a gradient, and a dropped
// weight with dropout. By a count by hand, some 80 instructions an element in both passes together,
// a third of them Philox's: issuing them, not memory, is expected to take longest.
//
// A row is the work of one warp when it is short and of one block when it is longer, so that a
// thread has at most kGroups groups of 4 neighbouring elements: they stay in registers between the
// passes over the row (largest, sum, result), and memory sees each element once. Threads take
// groups in turns, so a warp moves 128 neighbouring elements at a time. Rows too long for the
// largest block go in chunks, each loaded again in every pass: slower, but there is no limit.
// Groups that a query sees nothing of are neither read nor do they draw random words.
#include "cuda_kernels/attention.h"

#include <cmath>
#include <limits>

#include "core/cuda_launch.cuh"
#include "core/cuda_vector.cuh"
#include "core/scalar/philox.h"
#include "cuda_kernels/common/reduce.cuh"

namespace rondo::cuda {
namespace {

constexpr int kGroup = 4;         // elements of a vector, and words of a Philox block
constexpr int kMaxThreads = 512;  // of a block: leaves each thread 128 registers
constexpr int kShortRows = 4;     // that share a block, one warp each

// Groups of a thread; doubles take twice the registers.
template <typename T>
inline constexpr int kGroups = sizeof(T) == 8 ? 2 : 4;

// The row of this thread's warp or block.
struct Row {
  std::int64_t index;    // of its head: b * heads + h
  std::int64_t row;      // in the block
  int begin, end;        // columns that the query sees
  int first, last;       // columns that are written, in whole groups
  std::uint64_t random;  // block of random words of column 0
  const bool* hidden;    // key_padding of the batch entry, position j at j * B; or null

  __device__ explicit Row(const AttentionBlock& block)
      : index(blockIdx.x), row(static_cast<std::int64_t>(blockIdx.y) * blockDim.y + threadIdx.y) {
    const std::int64_t query = block.first + row;
    const std::int64_t position = block.context - block.queries + query;
    const std::int64_t lowest = block.window > 0 ? position - block.window : 0;
    begin = static_cast<int>(lowest > 0 ? lowest : 0);
    end = static_cast<int>(block.causal ? position + 1 : block.context);
    first = static_cast<int>(block.begin / kGroup * kGroup);
    last = static_cast<int>((block.end + kGroup - 1) / kGroup * kGroup);
    constexpr std::int64_t kMaskGroup = 64;  // rows of dropout masks are whole groups of these
    const std::int64_t words = (block.context + kMaskGroup - 1) / kMaskGroup * kMaskGroup;
    random = static_cast<std::uint64_t>((index * block.queries + query) * words / kGroup);
    hidden = block.key_padding == nullptr
                 ? nullptr
                 : block.key_padding + static_cast<int>(index) / static_cast<int>(block.heads);
  }

  // Where the row begins in a buffer.
  __device__ std::int64_t offset(const AttentionBlock& block, std::int64_t head_stride) const {
    return index * head_stride + row * block.row_stride;
  }
  __device__ bool sees(int column) const { return column >= begin && column < end; }
  __device__ bool sees_some_of_group(int column) const {
    return column + kGroup > begin && column < end;
  }
};

// The column of this thread's group `group` in a chunk.
template <typename T>
__device__ int column_of(const Row& row, int chunk, int group) {
  const int threads = static_cast<int>(blockDim.x);
  return row.first +
         ((chunk * kGroups<T> + group) * threads + static_cast<int>(threadIdx.x)) * kGroup;
}

// Chunks that the whole row takes.
template <typename T>
__device__ int chunks_of(const Row& row) {
  const int columns = static_cast<int>(blockDim.x) * kGroups<T> * kGroup;
  return (row.last - row.first + columns - 1) / columns;
}

// The largest value and the sum over the threads of a row. All of them must call these.
template <typename T>
__device__ T row_max(T value, T* scratch) {
  return blockDim.x == kWarpSize ? warp_max(value) : block_max(value, scratch);
}
template <typename T>
__device__ T row_sum(T value, T* scratch) {
  return blockDim.x == kWarpSize ? warp_sum(value) : block_sum(value, scratch);
}

// Which elements of the group at `column` dropout keeps, as bits.
__device__ unsigned kept_of_group(const AttentionBlock& block, const Row& row, int column) {
  const Philox4 words =
      philox(block.seed, block.stream, row.random + static_cast<std::uint64_t>(column / kGroup));
  unsigned bits = 0;
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    bits |= dropout_keeps(words.word[i], block.dropout_threshold) ? 1U << i : 0U;
  }
  return bits;
}

// weight times its factor, or 0, as bit i of `kept` says.
template <typename T>
__device__ T drop(const AttentionBlock& block, unsigned kept, int i, T weight) {
  return (kept >> i & 1U) != 0 ? weight * static_cast<T>(block.kept_factor) : T(0);
}

// A group of what a product wrote, which ends before column `written`; 0 beyond it.
template <typename T>
__device__ void load_group(const T* from, int column, int written, T (&to)[kGroup]) {
  if (column + kGroup <= written) {
    load_vector<kGroup>(from + column, to);
  } else {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      to[i] = column + i < written ? from[column + i] : T(0);
    }
  }
}

// The scores of a chunk with their masks; -infinity for what the query does not see. All loads are
// under way before the first is needed.
template <typename T>
__device__ void load_scores(const AttentionBlock& block, const Row& row, int chunk, const T* scores,
                            const T* additive, T (&value)[kGroups<T>][kGroup]) {
  constexpr T kNothing = -std::numeric_limits<T>::infinity();
  const int written = static_cast<int>(block.end);
#pragma unroll
  for (int group = 0; group < kGroups<T>; ++group) {
    const int column = column_of<T>(row, chunk, group);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      value[group][i] = kNothing;
    }
    if (row.sees_some_of_group(column)) {
      load_group(scores, column, written, value[group]);
    }
  }
  if (additive != nullptr || row.hidden != nullptr) {  // the same for all threads
#pragma unroll
    for (int group = 0; group < kGroups<T>; ++group) {
#pragma unroll
      for (int i = 0; i < kGroup; ++i) {
        const int j = column_of<T>(row, chunk, group) + i;
        if (row.sees(j)) {
          value[group][i] += additive != nullptr ? additive[j] : T(0);
          if (row.hidden != nullptr && row.hidden[j * block.batch]) {
            value[group][i] = kNothing;
          }
        }
      }
    }
  }
#pragma unroll
  for (int group = 0; group < kGroups<T>; ++group) {
    const int column = column_of<T>(row, chunk, group);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      value[group][i] = row.sees(column + i) ? value[group][i] : kNothing;
    }
  }
}

template <typename T>
__device__ void exponentials(T shift, T (&value)[kGroups<T>][kGroup]) {
#pragma unroll
  for (int group = 0; group < kGroups<T>; ++group) {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      value[group][i] = std::exp(value[group][i] - shift);
    }
  }
}

template <typename A>
__global__ void __launch_bounds__(kMaxThreads)
    weights_kernel(AttentionBlock block, const ComputeType<A>* scores,
                   const ComputeType<A>* additive, A* weights, A* dropped) {
  using T = ComputeType<A>;
  constexpr T kNothing = -std::numeric_limits<T>::infinity();
  __shared__ T scratch[kWarpSize];
  const Row row(block);
  if (row.row >= block.rows) {
    return;  // a whole warp: rows share a block only where no barrier follows
  }
  scores += row.offset(block, block.scores_head_stride);
  weights += row.offset(block, block.weights_head_stride);
  if (dropped != nullptr) {
    dropped += row.offset(block, block.dropped_head_stride);
  }
  if (additive != nullptr) {
    additive += block.additive_offset + row.index * block.additive_head_stride +
                row.row * block.additive_row_stride;
  }
  const int chunks = chunks_of<T>(row);
  T value[kGroups<T>][kGroup];

  T largest = kNothing;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    load_scores(block, row, chunk, scores, additive, value);
#pragma unroll
    for (const auto& group : value) {
#pragma unroll
      for (const T x : group) {
        largest = x > largest ? x : largest;
      }
    }
  }
  largest = row_max(largest, scratch);

  // Where nothing is seen, exponentials of -infinity give zeros, and NaN stays.
  const T shift = largest == kNothing ? T(0) : largest;
  T sum = T(0);
  for (int chunk = 0; chunk < chunks; ++chunk) {
    if (chunks > 1) {
      load_scores(block, row, chunk, scores, additive, value);
    }
    exponentials(shift, value);
#pragma unroll
    for (const auto& group : value) {
#pragma unroll
      for (const T x : group) {
        sum += x;
      }
    }
  }
  sum = row_sum(sum, scratch);
  const T scale = sum == T(0) ? T(0) : T(1) / sum;

  for (int chunk = 0; chunk < chunks; ++chunk) {
    if (chunks > 1) {
      load_scores(block, row, chunk, scores, additive, value);
      exponentials(shift, value);
    }
#pragma unroll
    for (int group = 0; group < kGroups<T>; ++group) {
      const int column = column_of<T>(row, chunk, group);
      if (column >= row.last) {
        continue;
      }
#pragma unroll
      for (int i = 0; i < kGroup; ++i) {
        value[group][i] *= scale;
      }
      store_vector<kGroup>(value[group], weights + column);
      if (dropped != nullptr) {
        const unsigned kept =
            row.sees_some_of_group(column) ? kept_of_group(block, row, column) : 0U;
#pragma unroll
        for (int i = 0; i < kGroup; ++i) {
          // Of the rounded weight, which is all that the gradient has.
          const T weight = to_compute(convert_element<A>(value[group][i]));
          value[group][i] = drop(block, kept, i, weight);
        }
        store_vector<kGroup>(value[group], dropped + column);
      }
    }
  }
}

// Weights of a chunk and the gradient of weights, 0 for what the query does not see; and bit i of
// kept[group] for what dropout keeps.
template <typename A, typename T>
__device__ void load_gradients(const AttentionBlock& block, const Row& row, int chunk,
                               bool with_dropout, const A* weights, const T* grad_dropped,
                               T (&weight)[kGroups<T>][kGroup], T (&grad)[kGroups<T>][kGroup],
                               unsigned (&kept)[kGroups<T>]) {
  const int written = static_cast<int>(block.end);
#pragma unroll
  for (int group = 0; group < kGroups<T>; ++group) {
    const int column = column_of<T>(row, chunk, group);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      weight[group][i] = T(0);
      grad[group][i] = T(0);
    }
    if (row.sees_some_of_group(column)) {
      load_vector<kGroup>(weights + column, weight[group]);
      load_group(grad_dropped, column, written, grad[group]);
    }
  }
#pragma unroll
  for (int group = 0; group < kGroups<T>; ++group) {
    const int column = column_of<T>(row, chunk, group);
    kept[group] =
        with_dropout && row.sees_some_of_group(column) ? kept_of_group(block, row, column) : 0U;
  }
#pragma unroll
  for (int group = 0; group < kGroups<T>; ++group) {
    const int column = column_of<T>(row, chunk, group);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      const bool sees = row.sees(column + i);
      weight[group][i] = sees ? weight[group][i] : T(0);
      if (with_dropout) {
        grad[group][i] = drop(block, kept[group], i, grad[group][i]);
      }
      grad[group][i] = sees ? grad[group][i] : T(0);
    }
  }
}

template <typename A, bool with_additive>
__global__ void __launch_bounds__(kMaxThreads)
    gradient_kernel(AttentionBlock block, const A* weights, const ComputeType<A>* grad_dropped,
                    A* grad_scores, A* dropped, AdditiveGradient<A> additive) {
  using T = ComputeType<A>;
  __shared__ T scratch[kWarpSize];
  const Row row(block);
  if (row.row >= block.rows) {
    return;  // a whole warp, as above
  }
  const bool with_dropout = dropped != nullptr;
  weights += row.offset(block, block.weights_head_stride);
  grad_dropped += row.offset(block, block.scores_head_stride);
  grad_scores += row.offset(block, block.weights_head_stride);
  if (with_dropout) {
    dropped += row.offset(block, block.dropped_head_stride);
  }
  A* additive_row = nullptr;
  if constexpr (with_additive) {
    additive_row = additive.data + additive.offset + row.index * additive.head_stride +
                   row.row * additive.row_stride;
    const std::int64_t before = additive.offset - row.row;  // elements before position 0
    for (std::int64_t i = static_cast<std::int64_t>(threadIdx.x) - before; i < row.begin;
         i += blockDim.x) {
      additive_row[i] = convert_element<A>(T(0));
    }
  }
  const int chunks = chunks_of<T>(row);
  T weight[kGroups<T>][kGroup];
  T grad[kGroups<T>][kGroup];
  unsigned kept[kGroups<T>];

  T sum = T(0);
  for (int chunk = 0; chunk < chunks; ++chunk) {
    load_gradients(block, row, chunk, with_dropout, weights, grad_dropped, weight, grad, kept);
#pragma unroll
    for (int group = 0; group < kGroups<T>; ++group) {
      T result[kGroup];
#pragma unroll
      for (int i = 0; i < kGroup; ++i) {
        sum += weight[group][i] * grad[group][i];
        result[i] = drop(block, kept[group], i, weight[group][i]);
      }
      const int column = column_of<T>(row, chunk, group);
      if (with_dropout && column < row.last) {
        store_vector<kGroup>(result, dropped + column);
      }
    }
  }
  sum = row_sum(sum, scratch);

  for (int chunk = 0; chunk < chunks; ++chunk) {
    if (chunks > 1) {
      load_gradients(block, row, chunk, with_dropout, weights, grad_dropped, weight, grad, kept);
    }
#pragma unroll
    for (int group = 0; group < kGroups<T>; ++group) {
      T result[kGroup];
#pragma unroll
      for (int i = 0; i < kGroup; ++i) {
        result[i] = weight[group][i] * (grad[group][i] - sum);
      }
      const int column = column_of<T>(row, chunk, group);
      if (column < row.last) {
        store_vector<kGroup>(result, grad_scores + column);
      }
      if constexpr (with_additive) {
#pragma unroll
        for (int i = 0; i < kGroup; ++i) {
          if (row.sees(column + i)) {
            additive_row[column + i] = convert_element<A>(result[i]);
          }
        }
      }
    }
  }
}

// Threads for every row: heads along x, which may be many, rows along y.
template <typename T>
Grid rows_grid(const AttentionBlock& block) {
  const std::int64_t groups = (block.end + kGroup - 1) / kGroup - block.begin / kGroup;
  const int threads = threads_for((groups + kGroups<T> - 1) / kGroups<T>, kMaxThreads);
  const int rows = threads == kWarpSize ? kShortRows : 1;
  return {dim3(static_cast<unsigned>(block.batch * block.heads),
               static_cast<unsigned>((block.rows + rows - 1) / rows)),
          dim3(static_cast<unsigned>(threads), static_cast<unsigned>(rows))};
}

}  // namespace

template <typename A>
void attention_weights(const AttentionBlock& block, const ComputeType<A>* scores,
                       const ComputeType<A>* additive, A* weights, A* dropped, Stream stream) {
  launch("attention", weights_kernel<A>, rows_grid<ComputeType<A>>(block), stream, block, scores,
         additive, weights, dropped);
}

template <typename A>
void attention_weights_gradient(const AttentionBlock& block, const A* weights,
                                const ComputeType<A>* grad_dropped, A* grad_scores, A* dropped,
                                Stream stream) {
  launch("attention", gradient_kernel<A, false>, rows_grid<ComputeType<A>>(block), stream, block,
         weights, grad_dropped, grad_scores, dropped, AdditiveGradient<A>{});
}

template <typename A>
void attention_weights_gradient(const AttentionBlock& block, const A* weights,
                                const ComputeType<A>* grad_dropped, A* grad_scores, A* dropped,
                                const AdditiveGradient<A>& additive, Stream stream) {
  launch("attention", gradient_kernel<A, true>, rows_grid<ComputeType<A>>(block), stream, block,
         weights, grad_dropped, grad_scores, dropped, additive);
}

template void attention_weights<float>(const AttentionBlock&, const float*, const float*, float*,
                                       float*, Stream);
template void attention_weights<double>(const AttentionBlock&, const double*, const double*,
                                        double*, double*, Stream);
template void attention_weights<bfloat16>(const AttentionBlock&, const float*, const float*,
                                          bfloat16*, bfloat16*, Stream);
template void attention_weights<float16>(const AttentionBlock&, const float*, const float*,
                                         float16*, float16*, Stream);

template void attention_weights_gradient<float>(const AttentionBlock&, const float*, const float*,
                                                float*, float*, Stream);
template void attention_weights_gradient<double>(const AttentionBlock&, const double*,
                                                 const double*, double*, double*, Stream);
template void attention_weights_gradient<bfloat16>(const AttentionBlock&, const bfloat16*,
                                                   const float*, bfloat16*, bfloat16*, Stream);
template void attention_weights_gradient<float16>(const AttentionBlock&, const float16*,
                                                  const float*, float16*, float16*, Stream);

template void attention_weights_gradient<float>(const AttentionBlock&, const float*, const float*,
                                                float*, float*, const AdditiveGradient<float>&,
                                                Stream);
template void attention_weights_gradient<double>(const AttentionBlock&, const double*,
                                                 const double*, double*, double*,
                                                 const AdditiveGradient<double>&, Stream);
template void attention_weights_gradient<bfloat16>(const AttentionBlock&, const bfloat16*,
                                                   const float*, bfloat16*, bfloat16*,
                                                   const AdditiveGradient<bfloat16>&, Stream);
template void attention_weights_gradient<float16>(const AttentionBlock&, const float16*,
                                                  const float*, float16*, float16*,
                                                  const AdditiveGradient<float16>&, Stream);

}  // namespace rondo::cuda
