// A stack of layers that takes a batch of streams one position at a time.
#pragma once

#include <optional>
#include <vector>

#include "models/sru_layer_stepper.h"
#include "models/sru_stack.h"

namespace rondo {

// Starts at the beginning of the streams' texts; see SruLayerStepper.
class SruStackStepper final : public StackStepper {
 public:
  SruStackStepper(const SruStack& stack, std::int64_t streams, std::int64_t window);

  const Tensor& step(const Tensor& x) override;
  void restore(const std::vector<Tensor>& c, const std::vector<Tensor>& h,
               const std::vector<Tensor>& memory) override;

 private:
  std::optional<Linear> input_to_hidden_;
  Tensor hidden_;  // (B, D), only with that product
  std::vector<SruLayerStepper> layers_;
};

}  // namespace rondo
