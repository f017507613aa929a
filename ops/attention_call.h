// One call of attention after its checks, and how a GPU computes it.
#pragma once

#include <algorithm>
#include <cmath>

#include "core/random.h"
#include "ops/attention.h"

namespace rondo {

// Positions [begin, end) of the context.
struct ContextRange {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};

struct AttentionCall {
  std::int64_t queries, context, batch, size, heads;  // T, C, B, n, heads
  AttentionMask mask;
  double dropout = 0.0;
  Precision precision = Precision::f32;
  RandomStream stream;  // of dropout

  std::int64_t head_size() const { return size / heads; }
  double scale() const { return 1.0 / std::sqrt(static_cast<double>(head_size())); }

  // The context positions that queries [begin, end) can see.
  ContextRange visible(std::int64_t begin, std::int64_t end) const {
    const std::int64_t memory = context - queries;
    return {mask.window > 0 ? std::max<std::int64_t>(0, memory + begin - mask.window) : 0,
            mask.causal ? memory + end : context};
  }
};

// attention() of tensors on a GPU. Not to be called in a build without CUDA.
Variable attention_on_gpu(const AttentionCall& call, const Variable& q, const Variable& kv);

}  // namespace rondo
