// Attention that knows how far away what it sees is: Transformer-XL's.
#pragma once

#include "ops/attention.h"

namespace rondo {

struct RelativeAttentionInputs {
  Variable q;              // (T, B, n)
  Variable kv;             // (C, B, 2n): keys, then values, C >= T
  Variable r;              // (D, n): a row for each distance, D - 1 first and 0 last
  Variable content_bias;   // u, (heads, head size)
  Variable position_bias;  // v, likewise
};

// Causal attention over [memory ; segment] whose scores depend on distances (Dai et al. 2019,
// section 3.3): query i, at position p = C - T + i, gives position j <= p the score
//   ((q_i + u) k_j + (q_i + v) r_{p - j}) / sqrt(head size),
// for every head and batch entry on its own; the rest is as in ops/attention.h. With `window` > 0
// no position more than this many before its own is seen; D must be beyond the largest distance
// seen. f32 or f64; on a GPU q and kv, and with them r, may be bf16 or f16, u and v are f32 beside
// them. The gradient keeps the attention weights, (B, heads, T, C + 128).
Variable relative_attention(const RelativeAttentionInputs& inputs, std::int64_t window,
                            const AttentionOptions& options = {});

}  // namespace rondo
