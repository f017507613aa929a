// How attention on a GPU is cut into products: blocks of queries, pieces of the context, and where
// their matrices lie. Shared by ops/attention_gpu.cpp and ops/relative_attention_gpu.cpp.
#pragma once

#include <algorithm>
#include <vector>

#include "core/element.h"
#include "cuda_kernels/attention.h"
#include "cuda_kernels/gemm.h"
#include "ops/attention_call.h"
#include "ops/device.h"

namespace rondo::attention_blocks {

// Queries of all heads in one block: products of so many rows fill a GPU, even where one of their
// sizes is a few hundred. But a block is no longer than kMaxBlock, for what lies beyond the causal
// edge is computed in vain, half a block for each query.
constexpr std::int64_t kRows = 8192;
constexpr std::int64_t kMinBlock = 128;
constexpr std::int64_t kMaxBlock = 512;
constexpr std::int64_t kBlockStep = 64;

// Rows of scores and weights begin at multiples of this many elements, and products at such
// columns: 16 bytes of any type.
constexpr std::int64_t kAlignment = 8;

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr std::int64_t round_up(std::int64_t a, std::int64_t to) { return divide_up(a, to) * to; }

struct QueryBlock {
  std::int64_t begin, end;
  ContextRange shown;
  std::int64_t rows() const { return end - begin; }
};

// All queries in blocks of the same length, but for the last.
inline std::vector<QueryBlock> query_blocks(const AttentionCall& a) {
  const std::int64_t heads = std::max<std::int64_t>(1, a.batch * a.heads);
  const std::int64_t most = std::clamp(kRows / heads, kMinBlock, kMaxBlock);
  const std::int64_t count = std::max<std::int64_t>(1, divide_up(a.queries, most));
  const std::int64_t rows = round_up(divide_up(a.queries, count), kBlockStep);
  std::vector<QueryBlock> blocks;
  for (std::int64_t begin = 0; begin < a.queries; begin += rows) {
    const std::int64_t end = std::min(begin + rows, a.queries);
    ContextRange shown = a.visible(begin, end);
    shown.begin = shown.begin / kAlignment * kAlignment;
    blocks.push_back({begin, end, shown});
  }
  return blocks;
}

// A part of the context of which every block of queries sees all or nothing, and the queries that
// see it.
struct ContextPiece {
  ContextRange positions;
  std::int64_t first_query, end_query;
};

inline std::vector<ContextPiece> context_pieces(const std::vector<QueryBlock>& blocks) {
  std::vector<std::int64_t> edges;
  for (const QueryBlock& block : blocks) {
    edges.insert(edges.end(), {block.shown.begin, block.shown.end});
  }
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  std::vector<ContextPiece> pieces;
  for (std::size_t i = 0; i + 1 < edges.size(); ++i) {
    const ContextRange positions{edges[i], edges[i + 1]};
    const auto sees = [&](const QueryBlock& block) {
      return block.shown.begin <= positions.begin && positions.end <= block.shown.end;
    };
    const auto first = std::find_if(blocks.begin(), blocks.end(), sees);
    const auto last = std::find_if(blocks.rbegin(), blocks.rend(), sees);
    pieces.push_back({positions, first->begin, last->end});
  }
  return pieces;
}

// Room for `rows` rows of scores or weights of every head.
inline Tensor empty_rows(const AttentionCall& a, std::int64_t rows, DType dtype, Device device) {
  return Tensor::empty({a.batch * a.heads, rows, round_up(a.context, kAlignment)}, dtype, device);
}

// A matrix for every head of every batch entry, in one tensor. Distances count elements.
struct Matrices {
  Tensor tensor;
  std::int64_t first, row_stride, batch_stride, head_stride;

  // x (positions, B, width): a row for each position, in the columns of the head.
  static Matrices by_position(const AttentionCall& a, const Tensor& x) {
    return {x, 0, a.batch * x.size(2), x.size(2), a.head_size()};
  }
  // x (B * heads, rows, columns).
  static Matrices by_head(const AttentionCall& a, const Tensor& x) {
    const std::int64_t matrix = x.size(1) * x.size(2);
    return {x, 0, x.size(2), a.heads * matrix, matrix};
  }

  Matrices from_row(std::int64_t row) const {
    return {tensor, first + row * row_stride, row_stride, batch_stride, head_stride};
  }
  Matrices from_column(std::int64_t column) const {
    return {tensor, first + column, row_stride, batch_stride, head_stride};
  }
  void* at(std::int64_t b, std::int64_t head) const {
    Tensor handle = tensor;
    const std::int64_t element = first + b * batch_stride + head * head_stride;
    return static_cast<std::byte*>(handle.raw()) +
           static_cast<std::size_t>(element) * size_of(tensor.dtype());
  }
  template <typename T>
  T* data() const {
    Tensor handle = tensor;
    return handle.device_data<T>() + first;
  }
};

// z = alpha op(x) op(y) for all heads. `product` has the rest. The distance between the matrices
// of one product has to be constant, so there is one for each head, with all batch entries; or for
// each batch entry, with all heads, where those are more. (`auto`: only builds with CUDA have the
// body.)
void multiply(const AttentionCall& a, cuda::Gemm product, const Matrices& x, const Matrices& y,
              const Matrices& z, auto stream) {
  const bool all_heads = a.heads > a.batch;
  product.operands = x.tensor.dtype();
  product.result = z.tensor.dtype();
  product.tf32 = a.precision == Precision::tf32 && product.operands == DType::f32;
  product.lda = x.row_stride;
  product.ldb = y.row_stride;
  product.ldc = z.row_stride;
  product.batch = all_heads ? a.heads : a.batch;
  product.stride_a = all_heads ? x.head_stride : x.batch_stride;
  product.stride_b = all_heads ? y.head_stride : y.batch_stride;
  product.stride_c = all_heads ? z.head_stride : z.batch_stride;
  for (std::int64_t i = 0; i < (all_heads ? a.batch : a.heads); ++i) {
    const std::int64_t b = all_heads ? i : 0;
    const std::int64_t head = all_heads ? 0 : i;
    product.a = x.at(b, head);
    product.b = y.at(b, head);
    product.c = z.at(b, head);
    cuda::gemm(product, stream);
  }
}

// What the kernels are told of a block.
struct KernelBlock : cuda::AttentionBlock {
  KernelBlock(const AttentionCall& a, const QueryBlock& block, const Matrices& scores,
              const Matrices& weights, const Matrices& dropped) {
    batch = a.batch;
    heads = a.heads;
    queries = a.queries;
    context = a.context;
    first = block.begin;
    rows = block.rows();
    begin = block.shown.begin;
    end = block.shown.end;
    row_stride = weights.row_stride;
    scores_head_stride = scores.head_stride;
    weights_head_stride = weights.head_stride;
    dropped_head_stride = dropped.head_stride;
    causal = a.mask.causal;
    window = a.mask.window;
    key_padding = device_data_or_null<bool>(a.mask.key_padding);
    dropout_threshold = rondo::dropout_threshold(static_cast<float>(a.dropout));
    kept_factor = 1.0 / (1.0 - a.dropout);
    seed = a.stream.seed;
    stream = a.stream.stream;
  }
};

// run_on for what is on a GPU for certain.
template <typename OnGpu>
void on_gpu(Device device, OnGpu&& body) {
  constexpr auto kNothing = [] {};
  run_on(device, kNothing, body);
}

// The type of the products' operands: that of tensors, or, for f32 tensors, what `precision` rounds
// them to.
inline DType operand_type(DType tensors, Precision precision) {
  return tensors == DType::f32 ? activation_type(precision, Device::cuda(0)) : tensors;
}

}  // namespace rondo::attention_blocks
