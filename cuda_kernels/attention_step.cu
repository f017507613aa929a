// out = softmax(scale * q k^T + distance scores) v for one query a row, over the keys and values
// kept of it.
//
// Must read keys and values once: 8 * rows * positions kept * head_size bytes. A row of a single
// stream with one head may be all there is, so its positions are cut into pieces of 16, a block
// each: eight warps take the products of two keys with q, the first warp their softmax, and then a
// thread sums a column of the values, its 16 loads under way together. A second kernel weighs the
// results of the pieces by their shares of all exponentials; they are one sixteenth of the values,
// but would be a long row of waits for one thread, so that sixteen warps share the pieces of 32
// columns. Both go by sizes alone, in a fixed order. There are blocks for all slots, and those
// of slots without a position end at once: how many positions there are only the device knows.
#include "cuda_kernels/attention_step.h"

#include <limits>

#include "cuda_kernels/common/rows_dot.cuh"

namespace rondo::cuda {
namespace {

constexpr int kPiece = static_cast<int>(kAttentionStepPiece);
constexpr int kThreads = 256;
static_assert(kPiece == 2 * (kThreads / kWarpSize), "a warp takes two keys");

// The thread's element of kv, into the slots from `first_slot`.
__device__ void store_element(const AttentionStore& store, std::int64_t first_slot) {
  const std::int64_t size = store.heads * store.head_size;
  const std::int64_t i = first_item();
  if (i >= store.positions * store.streams * 2 * size) {
    return;
  }
  const std::int64_t column = i % (2 * size);
  const std::int64_t s = i / (2 * size) % store.streams;
  const std::int64_t position = i / (2 * size * store.streams);
  const std::int64_t from = store.one_for_all ? position : position * store.streams + s;
  const bool is_key = column < size;
  const std::int64_t head = (is_key ? column : column - size) / store.head_size;
  const std::int64_t row = (s * store.heads + head) * store.slots + first_slot + position;
  float* to = is_key ? store.keys : store.values;
  to[row * store.head_size + column % store.head_size] = store.kv[from * 2 * size + column];
}

__global__ void attention_fill_kernel(AttentionStore store) {
  store_element(store, 0);
  if (first_item() == 0) {
    *store.count = {store.positions, 0};
  }
}

__global__ void attention_append_kernel(AttentionStore store) {
  const std::int64_t positions = store.count->positions;
  store_element(store, positions % store.slots);
  __syncthreads();
  // All threads of this block have read the count. The last block to get here raises it.
  if (threadIdx.x == 0 && atomicAdd(&store.count->blocks_done, 1U) == gridDim.x - 1) {
    *store.count = {positions + 1, 0};
  }
}

__global__ void attention_replace_newest_kernel(AttentionStore store) {
  store_element(store, (store.count->positions - 1) % store.slots);
}

// Of the positions counted, those that are kept.
__device__ std::int64_t kept_positions(const AttentionCount& count, std::int64_t slots) {
  return min(count.positions, slots);
}

template <bool vectors>
__global__ void __launch_bounds__(kThreads, 2) attend_piece_kernel(AttentionStep step) {
  __shared__ float weights[kPiece];
  const int lane = lane_index();
  const int warp = warp_index();
  const std::int64_t row = blockIdx.x / step.pieces;
  const std::int64_t begin = blockIdx.x % step.pieces * kPiece;
  const std::int64_t kept = kept_positions(*step.count, step.slots);
  if (begin >= kept) {
    return;  // with the whole block
  }
  const int count = static_cast<int>(min(static_cast<std::int64_t>(kPiece), kept - begin));
  const std::int64_t first = (row * step.slots + begin) * step.head_size;

  if (2 * warp < count) {
    // Beyond the last key it is taken again, and not kept.
    const float* const keys[2] = {
        step.keys + first + 2 * warp * step.head_size,
        step.keys + first + min(2 * warp + 1, count - 1) * step.head_size};
    const float* const q[1] = {step.q + row * step.head_size};
    float scores[2][1];
    rows_dot<vectors>(keys, q, step.head_size, scores);
    if (lane < 2) {
      float score = step.scale * (lane == 0 ? scores[0][0] : scores[1][0]);
      if (step.distance_scores != nullptr && 2 * warp + lane < count) {
        const std::int64_t newest = (step.count->positions - 1) % step.slots;
        const std::int64_t distance = newest - (begin + 2 * warp + lane);
        score += step.distance_scores[row * step.slots +
                                      (distance < 0 ? distance + step.slots : distance)];
      }
      weights[2 * warp + lane] = score;
    }
  }
  __syncthreads();
  if (warp == 0) {
    const float score = lane < count ? weights[lane] : -std::numeric_limits<float>::infinity();
    const float largest = warp_max(score);
    const float exponential = lane < count ? expf(score - largest) : 0.0F;
    const float sum = warp_sum(exponential);
    if (lane < kPiece) {
      weights[lane] = exponential / sum;
    }
    if (lane == 0) {
      step.log_sums[blockIdx.x] = largest + logf(sum);
    }
  }
  __syncthreads();
  for (std::int64_t column = threadIdx.x; column < step.head_size; column += kThreads) {
    float values[kPiece];
    for (int i = 0; i < kPiece; ++i) {
      values[i] = i < count ? step.values[first + i * step.head_size + column] : 0.0F;
    }
    float sum = 0.0F;
    for (int i = 0; i < kPiece; ++i) {
      sum = fmaf(weights[i], values[i], sum);
    }
    step.partial[blockIdx.x * step.head_size + column] = sum;
  }
}

constexpr int kCombineWarps = 16;
constexpr int kCombineAhead = 4;  // pieces of a warp whose loads are under way together

// A block takes 32 columns of a row, a warp every 16th piece.
__global__ void __launch_bounds__(kCombineWarps* kWarpSize)
    combine_pieces_kernel(AttentionStep step, std::int64_t tiles) {
  constexpr float kNothing = -std::numeric_limits<float>::infinity();
  __shared__ float scratch[kWarpSize];
  __shared__ float sums[kCombineWarps][kWarpSize];
  __shared__ float totals[kCombineWarps];
  const int lane = lane_index();
  const int warp = warp_index();
  const std::int64_t row = blockIdx.x / tiles;
  const std::int64_t column = blockIdx.x % tiles * kWarpSize + lane;
  const bool inside = column < step.head_size;
  const std::int64_t pieces = (kept_positions(*step.count, step.slots) + kPiece - 1) / kPiece;
  const float* const log_sums = step.log_sums + row * step.pieces;
  const float* const partial = step.partial + row * step.pieces * step.head_size + column;

  float largest = kNothing;
  for (std::int64_t piece = threadIdx.x; piece < pieces; piece += kCombineWarps * kWarpSize) {
    largest = fmaxf(largest, log_sums[piece]);
  }
  largest = block_max(largest, scratch);
  float total = 0.0F;
  float sum = 0.0F;
  for (std::int64_t first = warp; first < pieces; first += kCombineAhead * kCombineWarps) {
    float log_sum[kCombineAhead];
    float value[kCombineAhead];
#pragma unroll
    for (int a = 0; a < kCombineAhead; ++a) {
      const std::int64_t piece = first + a * kCombineWarps;
      log_sum[a] = piece < pieces ? log_sums[piece] : kNothing;
      value[a] = piece < pieces && inside ? partial[piece * step.head_size] : 0.0F;
    }
#pragma unroll
    for (int a = 0; a < kCombineAhead; ++a) {
      const float share = expf(log_sum[a] - largest);
      total += share;
      sum = fmaf(share, value[a], sum);
    }
  }
  sums[warp][lane] = sum;
  if (lane == 0) {
    totals[warp] = total;
  }
  __syncthreads();
  if (warp == 0 && inside) {
    for (int w = 1; w < kCombineWarps; ++w) {
      sum += sums[w][lane];
      total += totals[w];
    }
    step.out[row * step.head_size + column] = sum / total;
  }
}

Grid grid_of(const AttentionStore& store) {
  return grid_over(store.positions * store.streams * 2 * store.heads * store.head_size);
}

}  // namespace

void attention_fill(const AttentionStore& store, Stream stream) {
  launch("attention_fill", attention_fill_kernel, grid_of(store), stream, store);
}

void attention_append(const AttentionStore& store, Stream stream) {
  launch("attention_append", attention_append_kernel, grid_of(store), stream, store);
}

void attention_replace_newest(const AttentionStore& store, Stream stream) {
  launch("attention_replace_newest", attention_replace_newest_kernel, grid_of(store), stream,
         store);
}

void attention_step(const AttentionStep& step, Stream stream) {
  const Grid grid{dim3(static_cast<unsigned>(step.rows * step.pieces)), dim3(kThreads)};
  if (takes_vectors(step.q, step.head_size)) {
    launch("attention_step", attend_piece_kernel<true>, grid, stream, step);
  } else {
    launch("attention_step", attend_piece_kernel<false>, grid, stream, step);
  }
  const std::int64_t tiles = (step.head_size + kWarpSize - 1) / kWarpSize;
  const Grid combine{dim3(static_cast<unsigned>(step.rows * tiles)),
                     dim3(kCombineWarps * kWarpSize)};
  launch("attention_step", combine_pieces_kernel, combine, stream, step, tiles);
}

}  // namespace rondo::cuda
