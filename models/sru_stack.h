// Layers of SRU or SRU++ on top of one another.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "models/recurrent_stack.h"
#include "models/sru_layer.h"

namespace rondo {

// What a stack is, apart from the transforms of its layers.
struct StackOptions {
  std::int64_t input_size = 0;
  std::int64_t num_layers = 1;
  LayerOptions layer;
  double dropout = 0.0;  // between layers: m of every layer but the last
  // A bias-free product on the input when its size is not D, so that every layer has k = 3.
  bool proj_input_to_hidden_first = false;
};

// Makes the transform of layer `index` (from 0) with `in` inputs and `out` = k*D outputs.
using TransformFactory = std::function<std::unique_ptr<Transform>(
    std::int64_t index, std::int64_t in, std::int64_t out, Initializer& init)>;

// Reference: SRU and SRUpp. Made by make_sru (models/sru.h) and make_srupp (models/srupp.h).
class SruStack final : public RecurrentStack {
 public:
  SruStack(const StackOptions& options, const TransformFactory& make_transform, Initializer& init);

  // Throws Error when the state or memory does not fit.
  StackOutputs forward(const StackInputs& inputs, const ForwardContext& context) const override;
  std::unique_ptr<StackStepper> stepper(std::int64_t streams, std::int64_t window) const override;
  Parameters parameters() const override;

  std::int64_t num_layers() const override { return static_cast<std::int64_t>(layers_.size()); }
  std::int64_t output_size() const override { return options_.layer.output_size(); }
  bool attends(std::int64_t layer) const override {
    return layers_[static_cast<std::size_t>(layer)].attends();
  }

 private:
  friend class SruStackStepper;  // models/sru_stack_stepper.h

  StackOptions options_;
  std::optional<Linear> input_to_hidden_;
  std::vector<SruLayer> layers_;
};

}  // namespace rondo
