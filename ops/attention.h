// Scaled dot-product attention over [memory ; segment], time-major, as SRU++ uses it.
#pragma once

#include "autograd/variable.h"
#include "core/precision.h"
#include "core/random.h"

namespace rondo {

// What a query may see. Positions count over the context [memory ; segment]; with a context of C
// and T queries, query i stands at position C - T + i.
struct AttentionMask {
  bool causal = true;       // no position after its own
  std::int64_t window = 0;  // > 0: no position more than this many before its own ("same length")
  Tensor additive;          // (T, C), f32 (f64 for f64): added to the scores; undefined for none
  Tensor key_padding;       // (C, B), bool: true is hidden from every query; undefined for none
};

struct AttentionOptions {
  std::int64_t num_heads = 1;
  double dropout = 0.0;                  // of attention weights
  Generator* generator = nullptr;        // needed when dropout > 0
  Precision precision = Precision::f32;  // what products of f32 tensors round operands to
};

// a = softmax(q k^T / sqrt(head size) + mask), dropout on a, result a v; for every head and batch
// entry on its own (paper section 3.2; reference: SRUppAttention).
//   q   (T, B, n)
//   kv  (C, B, 2n): keys, then values, C >= T
// Returns (T, B, n). Scores that causal and window remove are never computed. A query that sees
// nothing gives zeros. f32 or f64; on a GPU bf16 and f16, too, whose scores and softmax are f32.
// Masks are on the device of q. The gradient keeps the attention weights, (B, heads, T, C).
Variable attention(const Variable& q, const Variable& kv, const AttentionMask& mask,
                   const AttentionOptions& options = {});

}  // namespace rondo
