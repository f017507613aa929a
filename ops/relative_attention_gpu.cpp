#include "cuda_kernels/linear.h"
#include "cuda_kernels/relative_attention.h"
#include "ops/attention_gpu_blocks.h"
#include "ops/relative_attention_call.h"

// As ops/attention_gpu.cpp, with one more product for a block of queries: their scores by distance,
// (q + v) r^T, in a buffer of their own. For a query at p, distance d stands where position p - d
// would if its row began one element later than that of the query before: the softmax kernel adds
// them from there (cuda::AttentionBlock's additive), and that of the gradient writes the gradient
// of scores by distance the same way.

namespace rondo {
namespace {

using namespace attention_blocks;
using cuda::Transpose;
using Call = RelativeAttentionCall;

// What the products read: in the type of their operands, but the biases.
struct Operands {
  Tensor q, kv, r, content_bias, position_bias;
  Tensor with_u, with_v;  // q + u, q + v
};

std::int64_t distances_of(const Call& a, const QueryBlock& block) {
  return std::min(block.shown.size(), a.distances);
}

// Where position 0 of the first query of a block would stand in its row of distances.
std::int64_t shift_of(const Call& a, const QueryBlock& block) {
  return distances_of(a, block) - 1 - (a.context - a.queries + block.begin);
}

// The rows of r that a block needs, a matrix for each head, the same for every batch entry.
Matrices rows_of_r(const Call& a, const QueryBlock& block, const Tensor& r) {
  const Matrices all{r, 0, a.size, 0, a.head_size()};
  return all.from_row(a.distances - distances_of(a, block));
}

Operands operands_of(const Call& a, const RelativeAttentionInputs& inputs, DType type) {
  Operands in{inputs.q.value().to(type),
              inputs.kv.value().to(type),
              inputs.r.value().to(type),
              inputs.content_bias.value(),
              inputs.position_bias.value(),
              Tensor(),
              Tensor()};
  in.with_u = Tensor::empty(in.q.shape(), type, in.q.device());
  in.with_v = Tensor::empty(in.q.shape(), type, in.q.device());
  on_gpu(in.q.device(), [&](auto stream) {
    dispatch_floating(type, "relative_attention", [&]<typename A>(Type<A>) {
      using C = ComputeType<A>;
      cuda::add_two_biases<A>(
          in.q.template device_data<A>(), in.content_bias.template device_data<C>(),
          in.position_bias.template device_data<C>(), in.with_u.template device_data<A>(),
          in.with_v.template device_data<A>(), a.queries * a.batch, a.size, stream);
    });
  });
  return in;
}

template <typename A>
void forward(const Call& a, const std::vector<QueryBlock>& blocks, const Operands& in,
             const Tensor& kept, const Tensor& out, cuda::Stream stream) {
  using C = ComputeType<A>;
  const auto scratch = [&](DType dtype) {
    return empty_rows(a, blocks.front().rows(), dtype, in.q.device());
  };
  const Tensor block_weights = kept.defined() ? Tensor() : scratch(dtype_of<A>);
  const Tensor block_scores = is_half<A> ? scratch(dtype_of<C>) : Tensor();
  const Tensor block_dropped = a.dropout > 0.0 ? scratch(dtype_of<A>) : Tensor();
  const Tensor block_distances = scratch(dtype_of<C>);
  const Matrices keys = Matrices::by_position(a, in.kv);
  const Matrices values = keys.from_column(a.size);
  const Matrices by_distance = Matrices::by_head(a, block_distances);
  for (const QueryBlock& block : blocks) {
    const std::int64_t begin = block.shown.begin;
    const Matrices weights = kept.defined() ? Matrices::by_head(a, kept).from_row(block.begin)
                                            : Matrices::by_head(a, block_weights);
    const Matrices scores =
        is_half<A> ? Matrices::by_head(a, block_scores) : weights;  // else in their place
    const Matrices dropped = a.dropout > 0.0 ? Matrices::by_head(a, block_dropped) : weights;
    cuda::Gemm product{.transpose_b = Transpose::yes,
                       .m = block.rows(),
                       .n = distances_of(a, block),
                       .k = a.head_size(),
                       .alpha = a.scale()};
    multiply(a, product, Matrices::by_position(a, in.with_v).from_row(block.begin),
             rows_of_r(a, block, in.r), by_distance, stream);
    product.n = block.shown.size();
    multiply(a, product, Matrices::by_position(a, in.with_u).from_row(block.begin),
             keys.from_row(begin), scores.from_column(begin), stream);
    KernelBlock kernel_block(a, block, scores, weights, dropped);
    kernel_block.additive_row_stride = by_distance.row_stride - 1;
    kernel_block.additive_head_stride = by_distance.head_stride;
    kernel_block.additive_offset = shift_of(a, block);
    cuda::attention_weights<A>(kernel_block, scores.data<C>(), by_distance.data<C>(),
                               weights.data<A>(), a.dropout > 0.0 ? dropped.data<A>() : nullptr,
                               stream);
    multiply(a, {.m = block.rows(), .n = a.head_size(), .k = block.shown.size()},
             dropped.from_column(begin), values.from_row(begin),
             Matrices::by_position(a, out).from_row(block.begin), stream);
  }
}

// The gradient of scores, by position and by distance, and what dropout made of the weights: of all
// queries.
struct ScoreGradients {
  Tensor by_position, by_distance, dropped;
};

// Writes them, and the gradients of q + u and q + v.
template <typename A>
ScoreGradients score_gradients(const Call& a, const std::vector<QueryBlock>& blocks,
                               const Operands& in, const Tensor& kept, const Tensor& grad_out,
                               const Tensor& grad_with_u, const Tensor& grad_with_v,
                               cuda::Stream stream) {
  using C = ComputeType<A>;
  const auto rows = [&](std::int64_t count, DType dtype) {
    return empty_rows(a, count, dtype, in.q.device());
  };
  ScoreGradients all{rows(a.queries, dtype_of<A>), rows(a.queries, dtype_of<A>),
                     a.dropout > 0.0 ? rows(a.queries, dtype_of<A>) : kept};
  const Tensor block_grads = is_half<A> ? rows(blocks.front().rows(), dtype_of<C>) : Tensor();
  const Matrices keys = Matrices::by_position(a, in.kv);
  const Matrices values = keys.from_column(a.size);
  for (const QueryBlock& block : blocks) {
    const std::int64_t begin = block.shown.begin;
    const Matrices weights = Matrices::by_head(a, kept).from_row(block.begin);
    const Matrices dropped = Matrices::by_head(a, all.dropped).from_row(block.begin);
    const Matrices grad_scores = Matrices::by_head(a, all.by_position).from_row(block.begin);
    const Matrices grad_distances = Matrices::by_head(a, all.by_distance).from_row(block.begin);
    const Matrices grad_dropped = is_half<A> ? Matrices::by_head(a, block_grads) : grad_scores;
    multiply(a,
             {.transpose_b = Transpose::yes,
              .m = block.rows(),
              .n = block.shown.size(),
              .k = a.head_size()},
             Matrices::by_position(a, grad_out).from_row(block.begin), values.from_row(begin),
             grad_dropped.from_column(begin), stream);
    cuda::attention_weights_gradient<A>(KernelBlock(a, block, grad_dropped, weights, dropped),
                                        weights.data<A>(), grad_dropped.data<C>(),
                                        grad_scores.data<A>(),
                                        a.dropout > 0.0 ? dropped.data<A>() : nullptr,
                                        {grad_distances.data<A>(), grad_distances.row_stride - 1,
                                         grad_distances.head_stride, shift_of(a, block)},
                                        stream);
    cuda::Gemm product{
        .m = block.rows(), .n = a.head_size(), .k = block.shown.size(), .alpha = a.scale()};
    multiply(a, product, grad_scores.from_column(begin), keys.from_row(begin),
             Matrices::by_position(a, grad_with_u).from_row(block.begin), stream);
    product.k = distances_of(a, block);
    multiply(a, product, grad_distances, rows_of_r(a, block, in.r),
             Matrices::by_position(a, grad_with_v).from_row(block.begin), stream);
  }
  return all;
}

// grad_kv from the gradients of scores, as in ops/attention_gpu.cpp.
void gradient_of_kv(const Call& a, const std::vector<QueryBlock>& blocks, const Operands& in,
                    const ScoreGradients& grads, const Tensor& grad_out, Tensor& grad_kv,
                    auto stream) {
  const Matrices grad_keys = Matrices::by_position(a, grad_kv);
  const Matrices grad_values = grad_keys.from_column(a.size);
  for (const ContextPiece& piece : context_pieces(blocks)) {
    const auto [begin, end] = piece.positions;
    cuda::Gemm product{.transpose_a = Transpose::yes,
                       .m = end - begin,
                       .n = a.head_size(),
                       .k = piece.end_query - piece.first_query};
    const auto part = [&](const Tensor& all) {
      return Matrices::by_head(a, all).from_row(piece.first_query).from_column(begin);
    };
    multiply(a, product, part(grads.dropped),
             Matrices::by_position(a, grad_out).from_row(piece.first_query),
             grad_values.from_row(begin), stream);
    product.alpha = a.scale();
    multiply(a, product, part(grads.by_position),
             Matrices::by_position(a, in.with_u).from_row(piece.first_query),
             grad_keys.from_row(begin), stream);
  }
  grad_kv.narrow(0, blocks.front().shown.begin).fill(0.0);  // positions that no window reaches
}

// The gradient of r: the sum over blocks of queries and batch entries, one product after the other,
// all heads at once, in f32 (f64).
Tensor gradient_of_r(const Call& a, const std::vector<QueryBlock>& blocks, const Operands& in,
                     const ScoreGradients& grads, DType sums, auto stream) {
  Tensor grad_r = Tensor::zeros(in.r.shape(), sums, in.r.device());
  for (const QueryBlock& block : blocks) {
    const Matrices by_distance = Matrices::by_head(a, grads.by_distance).from_row(block.begin);
    const Matrices with_v = Matrices::by_position(a, in.with_v).from_row(block.begin);
    const Matrices to = rows_of_r(a, block, grad_r);
    cuda::Gemm product{.transpose_a = Transpose::yes,
                       .m = distances_of(a, block),
                       .n = a.head_size(),
                       .k = block.rows(),
                       .alpha = a.scale(),
                       .beta = 1.0};
    product.operands = in.q.dtype();
    product.result = sums;
    product.tf32 = a.precision == Precision::tf32 && product.operands == DType::f32;
    product.lda = by_distance.row_stride;
    product.ldb = with_v.row_stride;
    product.ldc = to.row_stride;
    product.batch = a.heads;
    product.stride_a = by_distance.head_stride;
    product.stride_b = with_v.head_stride;
    product.stride_c = to.head_stride;
    for (std::int64_t b = 0; b < a.batch; ++b) {
      product.a = by_distance.at(b, 0);
      product.b = with_v.at(b, 0);
      product.c = to.at(0, 0);
      cuda::gemm(product, stream);
    }
  }
  return grad_r;
}

// The sum over rows of x (T, B, n), of the shape and type of `bias`.
template <typename A>
Tensor summed_rows(const Call& a, const Tensor& x, const Tensor& bias, cuda::Stream stream) {
  using C = ComputeType<A>;
  const std::int64_t rows = a.queries * a.batch;
  Tensor scratch =
      Tensor::empty({cuda::column_sums_scratch(rows, a.size)}, dtype_of<C>, x.device());
  Tensor sums = Tensor::empty(bias.shape(), dtype_of<C>, x.device());
  cuda::column_sums(x.device_data<A>(), rows, a.size, scratch.device_data<C>(),
                    sums.device_data<C>(), stream);
  return sums;
}

}  // namespace

Variable relative_attention_on_gpu(const RelativeAttentionCall& a,
                                   const RelativeAttentionInputs& inputs) {
  const DType type = inputs.q.dtype();
  const Device device = inputs.q.device();
  const DType operands = operand_type(type, a.precision);
  const std::vector<Variable> all{inputs.q, inputs.kv, inputs.r, inputs.content_bias,
                                  inputs.position_bias};
  const Operands in = operands_of(a, inputs, operands);
  Tensor out = Tensor::empty(in.q.shape(), type, device);
  const Tensor weights = needs_grad(all) ? empty_rows(a, a.queries, operands, device) : Tensor();
  const std::vector<QueryBlock> blocks = query_blocks(a);
  on_gpu(device, [&](auto stream) {
    dispatch_floating(operands, "relative_attention", [&]<typename A>(Type<A>) {
      forward<A>(a, blocks, in, weights, out, stream);
    });
  });
  const auto gradient = [=](std::span<const Tensor> grads) -> std::vector<Tensor> {
    Tensor grad_q = Tensor::empty(in.q.shape(), type, device);
    Tensor grad_with_v = Tensor::empty(in.q.shape(), type, device);
    Tensor grad_kv = Tensor::empty(in.kv.shape(), type, device);
    Tensor grad_r;
    Tensor grad_u;
    Tensor grad_v;
    on_gpu(device, [&](auto stream) {
      const Tensor grad_out = grads[0].to(operands);
      const DType sums = type == DType::f64 ? DType::f64 : DType::f32;
      dispatch_floating(operands, "relative_attention", [&]<typename A>(Type<A>) {
        const ScoreGradients scores =
            score_gradients<A>(a, blocks, in, weights, grad_out, grad_q, grad_with_v, stream);
        gradient_of_kv(a, blocks, in, scores, grad_out, grad_kv, stream);
        grad_r = gradient_of_r(a, blocks, in, scores, sums, stream).to(type);
      });
      dispatch_floating(type, "relative_attention", [&]<typename A>(Type<A>) {
        grad_u = summed_rows<A>(a, grad_q, in.content_bias, stream);
        grad_v = summed_rows<A>(a, grad_with_v, in.position_bias, stream);
      });
    });
    grad_q.add_(grad_with_v);
    return {grad_q, grad_kv, grad_r, grad_u, grad_v};
  };
  return record("relative_attention", std::vector<Tensor>{std::move(out)}, all, gradient).front();
}

}  // namespace rondo
