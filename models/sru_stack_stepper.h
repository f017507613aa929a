// A stack of layers that takes a batch of streams one position at a time.
#pragma once

#include <optional>
#include <vector>

#include "models/sru_layer_stepper.h"
#include "models/sru_stack.h"

namespace rondo {

// Starts at the beginning of the streams' texts; see SruLayerStepper.
class SruStackStepper {
 public:
  SruStackStepper(const SruStack& stack, std::int64_t streams, std::int64_t window);

  // h (B, D) of the last layer at the next position from x (B, input); the next call overwrites it.
  const Tensor& step(const Tensor& x);
  // Goes on where a parallel pass ended: c and memory per layer, as in StackOutputs and
  // StackInputs.
  void restore(const std::vector<Tensor>& c, const std::vector<Tensor>& memory);

 private:
  std::optional<Linear> input_to_hidden_;
  Tensor hidden_;  // (B, D), only with that product
  std::vector<SruLayerStepper> layers_;
};

}  // namespace rondo
