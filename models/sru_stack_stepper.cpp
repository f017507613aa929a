#include "models/sru_stack_stepper.h"

namespace rondo {

SruStackStepper::SruStackStepper(const SruStack& stack, std::int64_t streams, std::int64_t window)
    : input_to_hidden_(stack.input_to_hidden_) {
  if (input_to_hidden_) {
    hidden_ = Tensor::empty({streams, stack.output_size()}, DType::f32,
                            input_to_hidden_->weight.device());
  }
  layers_.reserve(stack.layers_.size());
  for (const SruLayer& layer : stack.layers_) {
    layers_.emplace_back(layer, streams, window);
  }
}

const Tensor& SruStackStepper::step(const Tensor& x) {
  const Tensor* h = &x;
  if (input_to_hidden_) {
    input_to_hidden_->step(x, hidden_);
    h = &hidden_;
  }
  for (SruLayerStepper& layer : layers_) {
    h = &layer.step(*h);
  }
  return *h;
}

void SruStackStepper::restore(const std::vector<Tensor>& c, const std::vector<Tensor>& /*h*/,
                              const std::vector<Tensor>& memory) {
  check(c.size() == layers_.size() && memory.size() == layers_.size(),
        "[SruStackStepper] {} states and {} memories for {} layers", c.size(), memory.size(),
        layers_.size());
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    layers_[i].restore(c[i], memory[i]);
  }
}

}  // namespace rondo
