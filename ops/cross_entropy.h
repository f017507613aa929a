// The loss of language models: softmax and negative log likelihood in one.
#pragma once

#include "autograd/variable.h"

namespace rondo {

// The mean over rows of logsumexp(logits) - logits[target], in nats.
//   logits   (..., V), f32 or f64, on a GPU also bf16 or f16
//   targets  logits.shape without its last dimension, i32, from 0 to V - 1; at least one. They may
//            be on the CPU while logits are on a GPU.
// Returns shape {1}, of the type of logits (f32 where that is bf16 or f16), without waiting for the
// GPU. The maximum of a row is subtracted first, so logits of any size are safe; sums are double
// inside. When logits need a gradient, it is worked out along the way and kept until backward.
// Throws Error when the shapes do not fit or a target is out of range; a target that is on a GPU
// already makes the loss NaN instead, and the gradient of its row.
Variable cross_entropy(const Variable& logits, const Tensor& targets);

// The sum of the same over rows, without a gradient: for evaluation. Returns shape {1}, f64, on the
// device of logits.
Tensor cross_entropy_sum(const Tensor& logits, const Tensor& targets);

}  // namespace rondo
