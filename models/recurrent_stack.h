// What a recurrent language model stands on: layers on top of one another, with the state that a
// sequence carries from piece to piece.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/module.h"
#include "ops/attention.h"

namespace rondo {

struct StackInputs {
  Variable x;                // (T, B, input)
  std::vector<Variable> c0;  // per layer, (B, D); empty for zeros
  std::vector<Variable> h0;  // LSTM: per layer, (B, D); empty for zeros
  // Per layer, (M, B, layer input); empty, or undefined, for none.
  std::vector<Variable> memory;
  AttentionMask mask;      // key_padding is made from the two below
  Tensor mask_pad;         // (T, B), bool: true is padding; undefined for none
  Tensor memory_mask_pad;  // (M, B), bool
};

struct StackOutputs {
  Variable h;                    // (T, B, D) of the last layer
  std::vector<Variable> c;       // per layer, (B, D); empty if the stack carries none
  std::vector<Variable> h_last;  // LSTM: per layer, (B, D); empty where c is all of the state
  // Per layer, (T, B, layer input): what becomes memory. Undefined where none is to be kept.
  std::vector<Variable> inputs;
};

// A stack that takes a batch of streams one position at a time, from the beginning of their texts.
class StackStepper {
 public:
  virtual ~StackStepper() = default;
  // h (B, D) of the last layer at the next position from x (B, input); the next call overwrites it.
  virtual const Tensor& step(const Tensor& x) = 0;
  // Whether every step does the same to the same tensors, so that it may be replayed
  // (core/replay.h).
  virtual bool repeats() const { return true; }
  // Goes on where a parallel pass ended: c, h_last and memory per layer, as in StackOutputs and
  // StackInputs. With 1 in place of B, the same for every stream.
  virtual void restore(const std::vector<Tensor>& c, const std::vector<Tensor>& h,
                       const std::vector<Tensor>& memory) = 0;
};

class RecurrentStack {
 public:
  virtual ~RecurrentStack() = default;
  // Throws Error when the state or memory does not fit.
  virtual StackOutputs forward(const StackInputs& inputs, const ForwardContext& context) const = 0;
  // A stepper for `streams` streams, each of which sees `window` positions before its own.
  virtual std::unique_ptr<StackStepper> stepper(std::int64_t streams,
                                                std::int64_t window) const = 0;
  virtual Parameters parameters() const = 0;
  virtual std::int64_t num_layers() const = 0;
  virtual std::int64_t output_size() const = 0;
  // Whether somebody must keep the memory of layer `layer` (from 0).
  virtual bool attends(std::int64_t layer) const = 0;
  // Whether every layer hands a c on; a stack that only attends has none.
  virtual bool carries_c() const { return true; }
  // How many positions evaluation with `window` reads at a time.
  virtual std::int64_t evaluation_segment(std::int64_t window) const { return window; }
};

}  // namespace rondo
