// The part of a layer that turns its input into U: what tells SRU, projected SRU and SRU++ apart.
#pragma once

#include "models/module.h"
#include "ops/attention.h"

namespace rondo {

// What a transform may look at beside the layer's input.
struct TransformInputs {
  Variable x;          // (T, B, in)
  Variable memory;     // (M, B, in): the layer's input of earlier positions; undefined for none
  AttentionMask mask;  // key_padding covers [memory ; segment]
};

class Transform {
 public:
  virtual ~Transform() = default;
  // U, (T, B, out): k planes of D units.
  virtual Variable forward(const TransformInputs& inputs, const ForwardContext& context) const = 0;
  virtual Parameters parameters() const = 0;
  // Whether it looks at `memory`, so that somebody must keep it.
  virtual bool attends() const { return false; }
};

}  // namespace rondo
