// y[i] = weight[ids[i]]; grad_weight[id] = sum of grad_y[i] over the i with ids[i] = id.
//
// Forward writes y once; the few rows of a character model's table come from cache. A thread takes
// a vector of a row.
//
// Backward reads grad_y once. A few ids are very frequent, so a block an id would leave one block
// with much of the work; atomic sums would have no fixed order. Instead the positions are sorted by
// id, stably, and cut into runs of kPiece: a block adds up the rows of one piece for a tile of
// columns, and writes the sum wherever the id changes. Only the first and the last id of a piece
// may go on in other pieces; their sums go to partial_sums, and a second kernel adds those of each
// id in order.
//
// The sort is by counting, 4 bits at a time, by one block: 12 thousand ids of 8 bits are two rounds
// over what fits in its cache. Each thread counts and moves a run of neighbouring positions, so
// there are no atomics and the order is kept.
#include "cuda_kernels/embedding.h"

#include <bit>
#include <limits>

#include "core/cuda_vector.cuh"
#include "cuda_kernels/common/reduce.cuh"

namespace rondo::cuda {
namespace {

constexpr int kPiece = 32;     // sorted positions that a block adds up
constexpr int kColumns = 128;  // threads of such a block
constexpr int kBatch = 4;      // rows that a thread reads before it adds the first
constexpr int kSortThreads = 512;
constexpr int kDigitBits = 4;
constexpr int kDigits = 1 << kDigitBits;

template <typename A, int W>
__global__ void gather_kernel(const std::int32_t* ids, const ComputeType<A>* weight,
                              std::int64_t count, std::int64_t v, std::int64_t d, A* y) {
  using C = ComputeType<A>;
  const std::int64_t vectors = d / W;
  for (std::int64_t i = first_item(); i < count * vectors; i += item_stride()) {
    const std::int64_t position = i / vectors;
    const std::int64_t column = (i - position * vectors) * W;
    const std::int32_t id = ids[position];
    C row[W];
    if (id >= 0 && id < v) {
      load_vector<W>(weight + id * d + column, row);
    } else {
      for (C& element : row) {
        element = std::numeric_limits<C>::quiet_NaN();
      }
    }
    store_vector<W>(row, y + position * d + column);
  }
}

// Ids and the positions that they stand at.
struct Entries {
  std::int32_t* ids;
  std::int32_t* positions;
};

// Positions in the order of their ids, and among equals in their own. Ids outside [0, v) count as
// v. `rounds` is the number of digits of v. The result is in `a`, `b` is scratch; both of `count`.
__global__ void __launch_bounds__(kSortThreads)
    sort_kernel(const std::int32_t* ids, int count, int v, int rounds, Entries a, Entries b) {
  // Of digit k and thread t, at k * kSortThreads + t: how many entries, then where they begin.
  __shared__ int counts[kDigits * kSortThreads];
  __shared__ int scratch[kWarpSize];
  const int thread = static_cast<int>(threadIdx.x);
  const int run = (count + kSortThreads - 1) / kSortThreads;
  const int begin = std::min(count, thread * run);
  const int end = std::min(count, begin + run);
  // The rounds go to and fro, and the last must write to `a`.
  Entries from = rounds % 2 == 0 ? a : b;
  Entries to = rounds % 2 == 0 ? b : a;
  for (int i = begin; i < end; ++i) {
    const std::int32_t id = ids[i];
    from.ids[i] = id >= 0 && id < v ? id : v;
    from.positions[i] = i;
  }
  __syncthreads();
  for (int round = 0; round < rounds; ++round) {
    const auto digit_of = [=](std::int32_t id) {
      return (id >> (round * kDigitBits)) & (kDigits - 1);
    };
    for (int digit = 0; digit < kDigits; ++digit) {
      counts[digit * kSortThreads + thread] = 0;
    }
    for (int i = begin; i < end; ++i) {
      ++counts[digit_of(from.ids[i]) * kSortThreads + thread];
    }
    __syncthreads();
    // The sum of all counts before each: within the kDigits that a thread takes, and before those.
    int sum = 0;
    for (int k = 0; k < kDigits; ++k) {
      sum += counts[thread * kDigits + k];
    }
    int before = block_exclusive_sum(sum, scratch);
    for (int k = 0; k < kDigits; ++k) {
      const int here = counts[thread * kDigits + k];
      counts[thread * kDigits + k] = before;
      before += here;
    }
    __syncthreads();
    for (int i = begin; i < end; ++i) {
      const std::int32_t id = from.ids[i];
      const int place = counts[digit_of(id) * kSortThreads + thread]++;
      to.ids[place] = id;
      to.positions[place] = from.positions[i];
    }
    __syncthreads();
    const Entries swapped = from;
    from = to;
    to = swapped;
  }
}

// Block (piece, tile). partial_sums has two rows a piece: the sum of its first id where that began
// in an earlier piece, and that of its last where that began here and goes on.
template <typename A, int W>
__global__ void __launch_bounds__(kColumns)
    add_piece_kernel(EmbeddingBackward<A> params, Entries sorted) {
  using C = ComputeType<A>;
  __shared__ std::int32_t ids[kPiece + 2];  // with the neighbours of the piece, or -1
  __shared__ std::int32_t positions[kPiece];
  const std::int64_t piece = blockIdx.x;
  const std::int64_t begin = piece * kPiece;
  const int length = static_cast<int>(std::min<std::int64_t>(kPiece, params.count - begin));
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < kPiece + 2) {
    const std::int64_t at = begin + thread - 1;
    ids[thread] = at >= 0 && at < params.count ? sorted.ids[at] : -1;
  }
  if (thread < length) {
    positions[thread] = sorted.positions[begin + thread];
  }
  __syncthreads();
  const std::int64_t d = params.d;
  const std::int64_t column = (std::int64_t{blockIdx.y} * kColumns + thread) * W;
  if (column >= d) {
    return;
  }
  const std::int32_t* id = ids + 1;
  bool began_here = id[0] != id[-1];
  C sum[W] = {};
  for (int first = 0; first < length; first += kBatch) {
    C rows[kBatch][W];
    for (int k = 0; k < kBatch; ++k) {
      if (first + k < length) {
        load_vector<W>(params.grad_y + positions[first + k] * d + column, rows[k]);
      }
    }
    for (int k = 0; k < kBatch; ++k) {
      const int at = first + k;
      if (at >= length) {
        continue;
      }
      for (int i = 0; i < W; ++i) {
        sum[i] += rows[k][i];
      }
      const bool goes_on = id[at + 1] == id[at];
      if (goes_on && at + 1 < length) {
        continue;
      }
      if (id[at] < params.v) {
        C* to = params.grad_weight + id[at] * d;
        if (!began_here) {
          to = params.partial_sums + 2 * piece * d;
        } else if (goes_on) {
          to = params.partial_sums + (2 * piece + 1) * d;
        }
        store_vector<W>(sum, to + column);
      }
      for (C& element : sum) {
        element = C(0);
      }
      began_here = true;
    }
  }
}

// Block (piece, tile): the whole sum of the id that begins in this piece and goes on, if any.
template <typename C>
__global__ void __launch_bounds__(kColumns)
    add_partial_sums_kernel(const C* partial_sums, const std::int32_t* ids, std::int64_t count,
                            std::int64_t v, std::int64_t d, C* grad_weight) {
  const std::int64_t piece = blockIdx.x;
  const std::int64_t begin = piece * kPiece;
  const std::int64_t last = begin + kPiece - 1;
  const std::int64_t column = std::int64_t{blockIdx.y} * kColumns + threadIdx.x;
  if (column >= d || last + 1 >= count || ids[last + 1] != ids[last] || ids[last] >= v) {
    return;
  }
  if (begin > 0 && ids[begin] == ids[last] && ids[begin - 1] == ids[begin]) {
    return;  // it began earlier
  }
  // The first piece that begins with another id, by bisection.
  std::int64_t same = piece + 1;
  std::int64_t other = (count + kPiece - 1) / kPiece;
  while (other - same > 1) {
    const std::int64_t middle = (same + other) / 2;
    (ids[middle * kPiece] == ids[last] ? same : other) = middle;
  }
  C sum = partial_sums[(2 * piece + 1) * d + column];
  for (std::int64_t i = piece + 1; i < other; ++i) {
    sum += partial_sums[2 * i * d + column];
  }
  grad_weight[ids[last] * d + column] = sum;
}

std::int64_t pieces_of(std::int64_t count) { return (count + kPiece - 1) / kPiece; }

// Blocks (piece, tile) of threads that take `width` columns each.
Grid piece_grid(std::int64_t count, std::int64_t d, int width) {
  const std::int64_t tile = std::int64_t{kColumns} * width;
  return {
      dim3(static_cast<unsigned>(pieces_of(count)), static_cast<unsigned>((d + tile - 1) / tile)),
      dim3(kColumns)};
}

}  // namespace

template <typename A>
void embedding(const std::int32_t* ids, const ComputeType<A>* weight, std::int64_t count,
               std::int64_t v, std::int64_t d, A* y, Stream stream) {
  const bool vectors = takes_vectors(y, d) && takes_vectors(weight, d);
  launch("embedding", vectors ? gather_kernel<A, vector_size<A>> : gather_kernel<A, 1>,
         grid_over(vectors ? count * (d / vector_size<A>) : count * d), stream, ids, weight, count,
         v, d, y);
}

std::int64_t embedding_sort_scratch(std::int64_t count) { return 4 * count; }

std::int64_t embedding_partial_rows(std::int64_t count) { return 2 * pieces_of(count); }

template <typename A>
void embedding_backward(const EmbeddingBackward<A>& params, Stream stream) {
  constexpr const char* kOp = "embedding backward";
  const std::int64_t count = params.count;
  if (count == 0) {
    return;
  }
  std::int32_t* const scratch = params.sort_scratch;
  const Entries sorted{scratch, scratch + count};
  const Entries other{scratch + 2 * count, scratch + 3 * count};
  const int bits = std::bit_width(static_cast<std::uint32_t>(params.v));
  launch(kOp, sort_kernel, Grid{dim3(1), dim3(kSortThreads)}, stream, params.ids,
         static_cast<int>(count), static_cast<int>(params.v), (bits + kDigitBits - 1) / kDigitBits,
         sorted, other);
  const bool vectors = takes_vectors(params.grad_y, params.d) &&
                       takes_vectors(params.grad_weight, params.d) &&
                       takes_vectors(params.partial_sums, params.d);
  launch(kOp, vectors ? add_piece_kernel<A, vector_size<A>> : add_piece_kernel<A, 1>,
         piece_grid(count, params.d, vectors ? vector_size<A> : 1), stream, params, sorted);
  launch(kOp, add_partial_sums_kernel<ComputeType<A>>, piece_grid(count, params.d, 1), stream,
         params.partial_sums, sorted.ids, count, params.v, params.d, params.grad_weight);
}

template void embedding(const std::int32_t*, const float*, std::int64_t, std::int64_t, std::int64_t,
                        float*, Stream);
template void embedding(const std::int32_t*, const double*, std::int64_t, std::int64_t,
                        std::int64_t, double*, Stream);
template void embedding(const std::int32_t*, const float*, std::int64_t, std::int64_t, std::int64_t,
                        bfloat16*, Stream);
template void embedding(const std::int32_t*, const float*, std::int64_t, std::int64_t, std::int64_t,
                        float16*, Stream);

template void embedding_backward(const EmbeddingBackward<float>&, Stream);
template void embedding_backward(const EmbeddingBackward<double>&, Stream);
template void embedding_backward(const EmbeddingBackward<bfloat16>&, Stream);
template void embedding_backward(const EmbeddingBackward<float16>&, Stream);

}  // namespace rondo::cuda
