// GPU kernels of attention between its products: masks, softmax and dropout of scores, and their
// gradient, for a block of queries of every head. Device pointers.
#pragma once

#include <cstdint>

#include "core/cuda.h"
#include "core/half.h"

namespace rondo::cuda {

// A block of queries and the part of the context it is multiplied with. Scores and weights are
// buffers of rows, one a query, in which column j is context position j: row r of head h of batch
// entry b begins (b * heads + h) * head stride + r * row_stride elements after the first row of
// the block. Rows begin at multiples of 16 bytes.
struct AttentionBlock {
  std::int64_t batch = 0, heads = 0;      // B, heads
  std::int64_t queries = 0, context = 0;  // T, C: query i stands at position C - T + i
  std::int64_t first = 0, rows = 0;       // the block: queries [first, first + rows); rows < 65536
  std::int64_t begin = 0, end = 0;        // context positions that some query of it may see
  std::int64_t row_stride = 0;            // of all buffers: a multiple of 8, at least C
  // From head to head:
  std::int64_t scores_head_stride = 0;   // of scores and of the gradient of dropped weights
  std::int64_t weights_head_stride = 0;  // of weights and of the gradient of scores
  std::int64_t dropped_head_stride = 0;  // of dropped weights
  // What is added to scores: to that of row r for position j, element additive_offset + (b * heads
  // + h) * additive_head_stride + r * additive_row_stride + j. The offset may be negative: what
  // would lie before the buffer belongs to positions that a query does not see, and is never read.
  std::int64_t additive_row_stride = 0, additive_head_stride = 0, additive_offset = 0;
  const bool* key_padding = nullptr;    // (C, B), true is hidden; may be null
  std::int64_t window = 0;              // > 0: no position more than this many before its own
  bool causal = true;                   // no position after its own
  std::uint32_t dropout_threshold = 0;  // dropout_threshold(p)
  double kept_factor = 1.0;             // 1 / (1 - p), what kept weights are multiplied by
  std::uint64_t seed = 0, stream = 0;   // of the words that dropout draws
};

// weights = softmax(scores + additive) over what each query sees, rounded to A, and 0 for the rest
// of [begin, end), which is first rounded outwards to multiples of 4. A query that sees nothing
// gets zeros; exponentials and sums are f32 (f64 for f64).
// dropped = weights / (1 - p), or 0 where dropout takes them: that of (head, query i, position j)
// if word ((b * heads + h) * T + i) * G + j of the stream says so (dropout_keeps), G being C
// rounded up to a multiple of 64.
//   scores    read within [begin, end) only; may be weights, with equal head strides
//   additive  read for positions that a query sees only; may be null
//   weights   =
//   dropped   =, null when p = 0
// A is float, double, bfloat16 or float16.
template <typename A>
void attention_weights(const AttentionBlock& block, const ComputeType<A>* scores,
                       const ComputeType<A>* additive, A* weights, A* dropped, Stream stream);

// The gradient of it: from weights, and the gradient of what dropout made of them, that of scores;
// and once more what dropout made of them, which the gradient of the values needs.
//   grad_dropped  read within [begin, end) only
//   grad_scores   =, may be grad_dropped, with equal head strides
//   dropped       =, null when p = 0
// What is written covers [begin, end) as above.
template <typename A>
void attention_weights_gradient(const AttentionBlock& block, const A* weights,
                                const ComputeType<A>* grad_dropped, A* grad_scores, A* dropped,
                                Stream stream);

// Where the gradient of what was added to the scores goes.
template <typename A>
struct AdditiveGradient {
  A* data;                               // of all rows of the block
  std::int64_t row_stride, head_stride;  // as the strides of `additive`
  // As additive_offset. Row r has offset - r elements before the one of position 0: they, and those
  // of positions before the first that the query sees, become 0.
  std::int64_t offset;
};

// The same, with the gradient of `additive` once more in its own layout: `=` where the query sees
// the position.
template <typename A>
void attention_weights_gradient(const AttentionBlock& block, const A* weights,
                                const ComputeType<A>* grad_dropped, A* grad_scores, A* dropped,
                                const AdditiveGradient<A>& additive, Stream stream);

}  // namespace rondo::cuda
