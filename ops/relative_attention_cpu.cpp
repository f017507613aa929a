// Relative attention on the CPU, head by head.
#include <algorithm>

#include "core/parallel.h"
#include "ops/attention_rows.h"
#include "ops/cpu/gemm.h"
#include "ops/relative_attention_call.h"

namespace rondo {
namespace {

using cpu::Transpose;

// Queries that share their products, as in ops/attention.cpp.
constexpr std::int64_t kBlock = 128;
// Elements of a cache line, at most.
constexpr std::int64_t kAligned = 16;
// Tasks that the backward pass is cut into, whatever the thread count, where batch and heads allow
// it: each has a gradient of r of its own.
constexpr std::int64_t kTasks = 16;

struct Call : RelativeAttentionCall {
  // Elements from one query's scores to the next one's.
  std::int64_t stride() const {
    const std::int64_t used = context + std::min(kBlock, queries);
    return (used + kAligned - 1) / kAligned * kAligned + 1;
  }
  // Elements of the scores of `rows` queries.
  std::int64_t score_elements(std::int64_t rows) const {
    return (kBlock + rows * stride() + kAligned - 1) / kAligned * kAligned;
  }
};

// A block of queries, the positions it is multiplied with, and how many distances these are at.
struct Block {
  std::int64_t begin, end;
  ContextRange shown;
  std::int64_t distances;

  std::int64_t rows() const { return end - begin; }
};

Block block_from(const Call& a, std::int64_t begin) {
  const std::int64_t end = std::min(begin + kBlock, a.queries);
  ContextRange shown = a.visible(begin, end);
  shown.begin = shown.begin / 8 * 8;  // a whole byte of the dropout mask
  return {begin, end, shown, std::min(shown.size(), a.distances)};
}

// The scores of a block, or what stands in their place, in two readings. By position: row i is
// query i of the block, column x position shown.begin + x. By distance: column x is the distance
// shown.size() - 1 - x. A query's distances begin one column later than those of the query before,
// so the second reading is the first one with rows that are one element longer and begin
// rows - 1 elements earlier: what a product writes by distance, the next one adds to by position.
// Rows are aligned by position. In each reading, what the other leaves over belongs to nobody.
template <typename T>
struct Scores {
  T* positions;
  T* distances;  // of the last Block::distances columns
  std::int64_t position_stride, distance_stride;

  // `memory` holds the scores of queries from `first` on.
  Scores(const Call& a, const Block& block, T* memory, std::int64_t first)
      : positions(memory + kBlock + (block.begin - first) * a.stride()),
        distances(positions - (block.rows() - 1) + block.shown.size() - block.distances),
        position_stride(a.stride() - 1),
        distance_stride(a.stride()) {}

  // So that row(i)[j] is position j of query i of the block.
  T* row(const Block& block, std::int64_t i) const {
    return positions + i * position_stride - block.shown.begin;
  }
};

// What one head of one batch entry reads. Rows of q and out are `q_stride` apart, of k and v
// `kv_stride`, of r `r_stride`.
template <typename T>
struct Head {
  const T* q;
  const T* k;
  const T* v;
  const T* r;
  const T* content_bias;
  const T* position_bias;
  std::int64_t q_stride, kv_stride, r_stride;
  std::int64_t b, column, index;  // index: b * heads + h, for dropout

  // The first of the distances that a block needs.
  const T* r_of(const Call& a, const Block& block) const {
    return r + (a.distances - block.distances) * r_stride;
  }
};

struct Values {
  Tensor q, kv, r, content_bias, position_bias;
};

template <typename T>
Head<T> head(const Call& a, const Values& in, std::int64_t b, std::int64_t h) {
  const std::int64_t column = h * a.head_size();
  const T* keys = in.kv.data<T>() + b * 2 * a.size + column;
  return {in.q.data<T>() + b * a.size + column,
          keys,
          keys + a.size,
          in.r.data<T>() + column,
          in.content_bias.data<T>() + column,
          in.position_bias.data<T>() + column,
          a.batch * a.size,
          a.batch * 2 * a.size,
          a.size,
          b,
          column,
          b * a.heads + h};
}

// to (rows, head size) = the queries of a block + bias.
template <typename T>
void add_bias(const Call& a, const Head<T>& in, const Block& block, const T* bias, T* to) {
  const std::int64_t n = a.head_size();
  for (std::int64_t i = 0; i < block.rows(); ++i) {
    const T* q = in.q + (block.begin + i) * in.q_stride;
    for (std::int64_t e = 0; e < n; ++e) {
      to[i * n + e] = q[e] + bias[e];
    }
  }
}

// Room for one task, made once.
template <typename T>
struct Scratch {
  Tensor tensor;
  T* content;        // (kBlock, head size): q + u
  T* position;       // likewise: q + v
  T* grad_content;   // likewise, backward only
  T* grad_position;  // likewise
  T* dropped;        // scores of a block
  T* scores;         // likewise, backward only

  Scratch(const Call& a, bool backward) {
    const std::int64_t rows = kBlock * a.head_size();
    const std::int64_t block = a.score_elements(kBlock);
    tensor = Tensor::empty({4 * rows + (backward ? 2 : 1) * block}, dtype_of<T>);
    content = tensor.data<T>();
    position = content + rows;
    grad_content = position + rows;
    grad_position = grad_content + rows;
    dropped = grad_position + rows;
    scores = backward ? dropped + block : nullptr;
  }
};

// Weights, for backward, and output of one head.
template <typename T>
void forward_head(const Call& a, const Head<T>& in, T* weights, std::uint8_t* bits,
                  const Scratch<T>& scratch, T* out) {
  const std::int64_t n = a.head_size();
  const auto scale = static_cast<T>(a.scale());
  for (std::int64_t begin = 0; begin < a.queries; begin += kBlock) {
    const Block block = block_from(a, begin);
    const std::int64_t rows = block.rows();
    const ContextRange shown = block.shown;
    add_bias(a, in, block, in.content_bias, scratch.content);
    add_bias(a, in, block, in.position_bias, scratch.position);
    const Scores<T> scores(a, block, weights, 0);
    cpu::gemm(Transpose::no, Transpose::yes, rows, block.distances, n, scale, scratch.position, n,
              in.r_of(a, block), in.r_stride, T(0), scores.distances, scores.distance_stride,
              a.precision);
    cpu::gemm(Transpose::no, Transpose::yes, rows, shown.size(), n, scale, scratch.content, n,
              in.k + shown.begin * in.kv_stride, in.kv_stride, T(1), scores.positions,
              scores.position_stride, a.precision);
    const Scores<T> dropped(a, block, scratch.dropped, begin);
    for (std::int64_t i = 0; i < rows; ++i) {
      softmax_row(a, in.b, begin + i, shown, scores.row(block, i));
      if (a.dropout > 0.0) {
        std::uint8_t* row_bits = bits + (begin + i) * mask_bytes(a);
        make_mask(a, in.index, begin + i, shown, row_bits);
        drop(a, row_bits, shown, scores.row(block, i), dropped.row(block, i));
      }
    }
    const T* factors = a.dropout > 0.0 ? dropped.positions : scores.positions;
    cpu::gemm(Transpose::no, Transpose::no, rows, n, shown.size(), T(1), factors,
              scores.position_stride, in.v + shown.begin * in.kv_stride, in.kv_stride, T(0),
              out + begin * in.q_stride, in.q_stride, a.precision);
  }
}

// Where the gradients of one head go: that of q is written, the others are added to.
template <typename T>
struct HeadGradient {
  const T* out;
  T* q;
  T* k;
  T* v;
  T* r;
  T* content_bias;
  T* position_bias;
};

// grad_q = grad_content + grad_position, whose sums over rows are added to those of the biases.
template <typename T>
void add_up(const Call& a, const Head<T>& in, const Block& block, const Scratch<T>& scratch,
            const HeadGradient<T>& grad) {
  const std::int64_t n = a.head_size();
  for (std::int64_t i = 0; i < block.rows(); ++i) {
    T* to = grad.q + (block.begin + i) * in.q_stride;
    const T* content = scratch.grad_content + i * n;
    const T* position = scratch.grad_position + i * n;
    for (std::int64_t e = 0; e < n; ++e) {
      to[e] = content[e] + position[e];
      grad.content_bias[e] += content[e];
      grad.position_bias[e] += position[e];
    }
  }
}

template <typename T>
void backward_head(const Call& a, const Head<T>& in, T* weights, const std::uint8_t* bits,
                   const HeadGradient<T>& grad, const Scratch<T>& scratch) {
  const std::int64_t n = a.head_size();
  const auto scale = static_cast<T>(a.scale());
  for (std::int64_t begin = 0; begin < a.queries; begin += kBlock) {
    const Block block = block_from(a, begin);
    const std::int64_t rows = block.rows();
    const ContextRange shown = block.shown;
    const T* grad_out = grad.out + begin * in.q_stride;
    const T* keys = in.k + shown.begin * in.kv_stride;
    const Scores<T> kept(a, block, weights, 0);
    const Scores<T> dropped(a, block, scratch.dropped, begin);
    const Scores<T> scores(a, block, scratch.scores, begin);
    // Gradient of the weights after dropout: grad_out v^T.
    cpu::gemm(Transpose::no, Transpose::yes, rows, shown.size(), n, T(1), grad_out, in.q_stride,
              in.v + shown.begin * in.kv_stride, in.kv_stride, T(0), scores.positions,
              scores.position_stride, a.precision);
    for (std::int64_t i = 0; i < rows; ++i) {
      const T* p = kept.row(block, i);
      T* g = scores.row(block, i);
      if (a.dropout > 0.0) {
        const std::uint8_t* row_bits = bits + (begin + i) * mask_bytes(a);
        drop(a, row_bits, shown, p, dropped.row(block, i));
        drop(a, row_bits, shown, g, g);
      }
      cpu::softmax_gradient_in_place(p + shown.begin, g + shown.begin, shown.size());
      // By distance, the row begins here, with distances that no position of the block is at.
      std::fill_n(g + shown.begin - (rows - 1 - i), rows - 1 - i, T(0));
    }
    const T* factors = a.dropout > 0.0 ? dropped.positions : kept.positions;
    cpu::gemm(Transpose::yes, Transpose::no, shown.size(), n, rows, T(1), factors,
              scores.position_stride, grad_out, in.q_stride, T(1),
              grad.v + shown.begin * in.kv_stride, in.kv_stride, a.precision);
    add_bias(a, in, block, in.content_bias, scratch.content);
    add_bias(a, in, block, in.position_bias, scratch.position);
    cpu::gemm(Transpose::no, Transpose::no, rows, n, shown.size(), scale, scores.positions,
              scores.position_stride, keys, in.kv_stride, T(0), scratch.grad_content, n,
              a.precision);
    cpu::gemm(Transpose::yes, Transpose::no, shown.size(), n, rows, scale, scores.positions,
              scores.position_stride, scratch.content, n, T(1), grad.k + shown.begin * in.kv_stride,
              in.kv_stride, a.precision);
    cpu::gemm(Transpose::no, Transpose::no, rows, n, block.distances, scale, scores.distances,
              scores.distance_stride, in.r_of(a, block), in.r_stride, T(0), scratch.grad_position,
              n, a.precision);
    cpu::gemm(Transpose::yes, Transpose::no, block.distances, n, rows, scale, scores.distances,
              scores.distance_stride, scratch.position, n, T(1),
              grad.r + (a.distances - block.distances) * in.r_stride, in.r_stride, a.precision);
    add_up(a, in, block, scratch, grad);
  }
}

// The sum of the leading rows of `parts`, of shape `shape`, in their order.
Tensor added_up(const Tensor& parts, const Shape& shape) {
  Tensor total = parts[0];
  for (std::int64_t i = 1; i < parts.size(0); ++i) {
    total.add_(parts[i]);
  }
  return total.reshape(shape);
}

std::uint8_t* head_bits(const Call& a, Tensor bits, std::int64_t index) {
  return bits.defined() ? bits.data<std::uint8_t>() + index * a.queries * mask_bytes(a) : nullptr;
}

// Gradients of q, kv, r, u and v.
std::vector<Tensor> backward(const Call& a, const Values& in, Tensor weights, const Tensor& bits,
                             const Tensor& grad_out) {
  const DType type = in.q.dtype();
  Tensor grad_q = Tensor::empty(in.q.shape(), type);
  Tensor grad_kv = Tensor::zeros(in.kv.shape(), type);
  // Batch entries go in groups, one gradient of r for each: r is the same for all of them.
  const std::int64_t groups = std::max<std::int64_t>(1, std::min(kTasks / a.heads, a.batch));
  Tensor grad_r = Tensor::zeros({groups, a.distances, a.size}, type);
  Tensor grad_u = Tensor::zeros({a.batch, a.size}, type);
  Tensor grad_v = Tensor::zeros({a.batch, a.size}, type);
  dispatch_compute(type, "relative_attention", [&]<typename T>(Type<T>) {
    for_each_task(groups * a.heads, [&](std::int64_t task) {
      const std::int64_t group = task / a.heads;
      const std::int64_t h = task % a.heads;
      const Scratch<T> scratch(a, true);
      const std::int64_t last = (group + 1) * a.batch / groups;
      for (std::int64_t b = group * a.batch / groups; b < last; ++b) {
        const Head<T> head_in = head<T>(a, in, b, h);
        const std::int64_t q_offset = b * a.size + head_in.column;
        T* grad_k = grad_kv.data<T>() + b * 2 * a.size + head_in.column;
        const HeadGradient<T> grad{grad_out.data<T>() + q_offset,
                                   grad_q.data<T>() + q_offset,
                                   grad_k,
                                   grad_k + a.size,
                                   grad_r.data<T>() + group * a.distances * a.size + head_in.column,
                                   grad_u.data<T>() + q_offset,
                                   grad_v.data<T>() + q_offset};
        backward_head(a, head_in, weights.data<T>() + head_in.index * a.score_elements(a.queries),
                      head_bits(a, bits, head_in.index), grad, scratch);
      }
    });
  });
  return {grad_q, grad_kv, added_up(grad_r, in.r.shape()),
          added_up(grad_u, in.content_bias.shape()), added_up(grad_v, in.content_bias.shape())};
}

}  // namespace

Variable relative_attention_on_cpu(const RelativeAttentionCall& call,
                                   const RelativeAttentionInputs& inputs) {
  const Call a{call};
  const DType type = inputs.q.dtype();
  const std::vector<Variable> all{inputs.q, inputs.kv, inputs.r, inputs.content_bias,
                                  inputs.position_bias};
  const Values in{inputs.q.value(), inputs.kv.value(), inputs.r.value(),
                  inputs.content_bias.value(), inputs.position_bias.value()};
  Tensor out = Tensor::empty(in.q.shape(), type);
  const std::int64_t heads = a.batch * a.heads;
  const std::int64_t head_elements = a.score_elements(a.queries);
  const bool recorded = needs_grad(all);
  Tensor weights = recorded ? Tensor::empty({heads * head_elements}, type) : Tensor();
  Tensor bits =
      a.dropout > 0.0 ? Tensor::empty({heads, a.queries, mask_bytes(a)}, DType::u8) : Tensor();
  dispatch_compute(type, "relative_attention", [&]<typename T>(Type<T>) {
    for_each_task(heads, [&](std::int64_t index) {
      const Head<T> head_in = head<T>(a, in, index / a.heads, index % a.heads);
      const Scratch<T> scratch(a, false);
      Tensor own = recorded ? Tensor() : Tensor::empty({head_elements}, type);
      T* head_weights =
          recorded ? weights.data<T>() + index * head_elements : own.template data<T>();
      forward_head(a, head_in, head_weights, head_bits(a, bits, index), scratch,
                   out.data<T>() + head_in.b * a.size + head_in.column);
    });
  });
  return record("relative_attention", std::vector<Tensor>{std::move(out)}, all,
                [=](std::span<const Tensor> grads) {
                  return backward(a, in, weights, bits, grads[0]);
                })
      .front();
}

}  // namespace rondo
