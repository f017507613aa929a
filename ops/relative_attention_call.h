// One call of relative attention after its checks, and who computes it.
#pragma once

#include "ops/attention_call.h"
#include "ops/relative_attention.h"

namespace rondo {

struct RelativeAttentionCall : AttentionCall {
  std::int64_t distances = 0;  // D
};

// relative_attention() of tensors on the CPU, and on a GPU; the latter not to be called in a build
// without CUDA.
Variable relative_attention_on_cpu(const RelativeAttentionCall& call,
                                   const RelativeAttentionInputs& inputs);
Variable relative_attention_on_gpu(const RelativeAttentionCall& call,
                                   const RelativeAttentionInputs& inputs);

}  // namespace rondo
