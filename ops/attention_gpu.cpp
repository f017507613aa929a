#include "ops/attention_call.h"

#include "ops/attention_gpu_blocks.h"

// Queries go in blocks, each multiplied with the part of the context that it can see: all heads of
// all batch entries at once. Scores are f32 (f64 for f64) and live for one block only; the weights
// are kept for the gradient, in the type of the products' operands.
//
// The gradient of scores is made for all queries before the products that give those of keys and
// values: each piece of the context then takes one product over all queries that see it. A sum over
// blocks of queries would need an f32 buffer of (C, B, 2n), more than two of (B, heads, T, C) in a
// half type for the usual sizes, and would read and write it once a block.

namespace rondo {
namespace {

using namespace attention_blocks;
using cuda::Transpose;

// out = attention of q and kv. The weights go to `kept` (B * heads, T, C rounded up), which may be
// undefined.
template <typename A>
void forward(const AttentionCall& a, const std::vector<QueryBlock>& blocks, const Tensor& q,
             const Tensor& kv, const Tensor& kept, const Tensor& out, cuda::Stream stream) {
  const auto scratch = [&](DType dtype) {
    return empty_rows(a, blocks.front().rows(), dtype, q.device());
  };
  const Tensor block_weights = kept.defined() ? Tensor() : scratch(dtype_of<A>);
  const Tensor block_scores = is_half<A> ? scratch(dtype_of<ComputeType<A>>) : Tensor();
  const Tensor block_dropped = a.dropout > 0.0 ? scratch(dtype_of<A>) : Tensor();
  const Matrices keys = Matrices::by_position(a, kv);
  const Matrices values = keys.from_column(a.size);
  for (const QueryBlock& block : blocks) {
    const std::int64_t begin = block.shown.begin;
    const Matrices weights = kept.defined() ? Matrices::by_head(a, kept).from_row(block.begin)
                                            : Matrices::by_head(a, block_weights);
    const Matrices scores =
        is_half<A> ? Matrices::by_head(a, block_scores) : weights;  // else in their place
    const Matrices dropped = a.dropout > 0.0 ? Matrices::by_head(a, block_dropped) : weights;
    multiply(a,
             {.transpose_b = Transpose::yes,
              .m = block.rows(),
              .n = block.shown.size(),
              .k = a.head_size(),
              .alpha = a.scale()},
             Matrices::by_position(a, q).from_row(block.begin), keys.from_row(begin),
             scores.from_column(begin), stream);
    KernelBlock kernel_block(a, block, scores, weights, dropped);
    const auto* additive = device_data_or_null<ComputeType<A>>(a.mask.additive);
    if (additive != nullptr) {
      kernel_block.additive_row_stride = a.context;
      additive += block.begin * a.context;
    }
    cuda::attention_weights<A>(kernel_block, scores.data<ComputeType<A>>(), additive,
                               weights.data<A>(), a.dropout > 0.0 ? dropped.data<A>() : nullptr,
                               stream);
    multiply(a, {.m = block.rows(), .n = a.head_size(), .k = block.shown.size()},
             dropped.from_column(begin), values.from_row(begin),
             Matrices::by_position(a, out).from_row(block.begin), stream);
  }
}

// grad_q and grad_kv, which are written. `kept` is from forward.
template <typename A>
void backward(const AttentionCall& a, const std::vector<QueryBlock>& blocks,
              const std::vector<ContextPiece>& pieces, const Tensor& q, const Tensor& kv,
              const Tensor& kept, const Tensor& grad_out, const Tensor& grad_q, Tensor& grad_kv,
              cuda::Stream stream) {
  const Tensor all_grad_scores = empty_rows(a, a.queries, dtype_of<A>, q.device());
  const Tensor all_dropped =
      a.dropout > 0.0 ? empty_rows(a, a.queries, dtype_of<A>, q.device()) : kept;
  const Tensor block_grads =
      is_half<A> ? empty_rows(a, blocks.front().rows(), dtype_of<ComputeType<A>>, q.device())
                 : Tensor();
  const Matrices keys = Matrices::by_position(a, kv);
  const Matrices values = keys.from_column(a.size);
  for (const QueryBlock& block : blocks) {
    const std::int64_t begin = block.shown.begin;
    const Matrices weights = Matrices::by_head(a, kept).from_row(block.begin);
    const Matrices dropped = Matrices::by_head(a, all_dropped).from_row(block.begin);
    const Matrices grad_scores = Matrices::by_head(a, all_grad_scores).from_row(block.begin);
    const Matrices grad_dropped = is_half<A> ? Matrices::by_head(a, block_grads) : grad_scores;
    multiply(a,
             {.transpose_b = Transpose::yes,
              .m = block.rows(),
              .n = block.shown.size(),
              .k = a.head_size()},
             Matrices::by_position(a, grad_out).from_row(block.begin), values.from_row(begin),
             grad_dropped.from_column(begin), stream);
    cuda::attention_weights_gradient<A>(KernelBlock(a, block, grad_dropped, weights, dropped),
                                        weights.data<A>(), grad_dropped.data<ComputeType<A>>(),
                                        grad_scores.data<A>(),
                                        a.dropout > 0.0 ? dropped.data<A>() : nullptr, stream);
    multiply(a,
             {.m = block.rows(), .n = a.head_size(), .k = block.shown.size(), .alpha = a.scale()},
             grad_scores.from_column(begin), keys.from_row(begin),
             Matrices::by_position(a, grad_q).from_row(block.begin), stream);
  }

  const Matrices grad_keys = Matrices::by_position(a, grad_kv);
  const Matrices grad_values = grad_keys.from_column(a.size);
  for (const ContextPiece& piece : pieces) {
    const auto [begin, end] = piece.positions;
    cuda::Gemm product{.transpose_a = Transpose::yes,
                       .m = end - begin,
                       .n = a.head_size(),
                       .k = piece.end_query - piece.first_query};
    multiply(a, product,
             Matrices::by_head(a, all_dropped).from_row(piece.first_query).from_column(begin),
             Matrices::by_position(a, grad_out).from_row(piece.first_query),
             grad_values.from_row(begin), stream);
    product.alpha = a.scale();
    multiply(a, product,
             Matrices::by_head(a, all_grad_scores).from_row(piece.first_query).from_column(begin),
             Matrices::by_position(a, q).from_row(piece.first_query), grad_keys.from_row(begin),
             stream);
  }
  grad_kv.narrow(0, blocks.front().shown.begin).fill(0.0);  // positions that no window reaches
}

}  // namespace

Variable attention_on_gpu(const AttentionCall& a, const Variable& q_input,
                          const Variable& kv_input) {
  const DType type = q_input.dtype();
  const Device device = q_input.device();
  const DType operands = operand_type(type, a.precision);
  const Tensor q = q_input.value().to(operands);
  const Tensor kv = kv_input.value().to(operands);
  Tensor out = Tensor::empty(q.shape(), type, device);
  const Tensor weights =
      needs_grad({q_input, kv_input}) ? empty_rows(a, a.queries, operands, device) : Tensor();
  const std::vector<QueryBlock> blocks = query_blocks(a);
  if (out.numel() > 0) {
    on_gpu(device, [&](auto stream) {
      dispatch_floating(operands, "attention", [&]<typename A>(Type<A>) {
        forward<A>(a, blocks, q, kv, weights, out, stream);
      });
    });
  }
  return record("attention", std::move(out), {q_input, kv_input},
                [=](std::span<const Tensor> grads) -> std::vector<Tensor> {
                  Tensor grad_q = Tensor::empty(q.shape(), type, device);
                  Tensor grad_kv = Tensor::empty(kv.shape(), type, device);
                  if (grad_q.numel() == 0) {
                    grad_kv.fill(0.0);
                    return {grad_q, grad_kv};
                  }
                  const std::vector<ContextPiece> pieces = context_pieces(blocks);
                  on_gpu(device, [&](auto stream) {
                    dispatch_floating(operands, "attention", [&]<typename A>(Type<A>) {
                      backward<A>(a, blocks, pieces, q, kv, weights, grads[0].to(operands), grad_q,
                                  grad_kv, stream);
                    });
                  });
                  return {grad_q, grad_kv};
                });
}

}  // namespace rondo
