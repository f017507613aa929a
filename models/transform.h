// The part of a layer that turns its input into U: what tells SRU, projected SRU and SRU++ apart.
#pragma once

#include <memory>

#include "models/module.h"
#include "ops/attention.h"

namespace rondo {

// What a transform may look at beside the layer's input.
struct TransformInputs {
  Variable x;          // (T, B, in)
  Variable memory;     // (M, B, in): the layer's input of earlier positions; undefined for none
  AttentionMask mask;  // key_padding covers [memory ; segment]
};

// A transform that takes a batch of streams one position at a time (f32, without gradients), on the
// device of the transform's weights, which it shares. Its buffers are made once.
class TransformStepper {
 public:
  virtual ~TransformStepper() = default;
  // u (B, out) from x (B, in). `remembered` (B, in) is what later positions see of this one: the
  // layer's input before any LayerNorm of the whole layer, often x itself.
  virtual void step(const Tensor& x, const Tensor& remembered, Tensor& u) = 0;
  // Takes over the memory (M, B, in) of a parallel pass; (M, 1, in): the same for every stream.
  virtual void remember(const Tensor& /*memory*/) {}
};

class Transform {
 public:
  virtual ~Transform() = default;
  // U, (T, B, out): k planes of D units.
  virtual Variable forward(const TransformInputs& inputs, const ForwardContext& context) const = 0;
  // A stepper for `streams` streams, each of which sees `window` positions before its own.
  virtual std::unique_ptr<TransformStepper> stepper(std::int64_t streams,
                                                    std::int64_t window) const = 0;
  virtual Parameters parameters() const = 0;
  // Whether it looks at `memory`, so that somebody must keep it.
  virtual bool attends() const { return false; }
};

}  // namespace rondo
