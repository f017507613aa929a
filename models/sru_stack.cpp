#include "models/sru_stack.h"

#include "models/sru_stack_stepper.h"
#include "ops/concat.h"

namespace rondo {
namespace {

// The padding of [memory ; segment]: memory is unpadded where nothing is said.
Tensor context_padding(const Tensor& memory_mask_pad, const Tensor& mask_pad,
                       std::int64_t memory_length, std::int64_t steps, std::int64_t batch) {
  if (!memory_mask_pad.defined() && !mask_pad.defined()) {
    return Tensor();
  }
  const Device device = mask_pad.defined() ? mask_pad.device() : memory_mask_pad.device();
  const auto given_or_none = [&](const Tensor& mask, std::int64_t length) {
    return mask.defined() ? mask : Tensor::zeros({length, batch}, DType::boolean, device);
  };
  const Tensor segment = given_or_none(mask_pad, steps);
  if (memory_length == 0) {
    return segment;
  }
  const Tensor memory = given_or_none(memory_mask_pad, memory_length);
  check_shape("SruStack", "memory_mask_pad", memory, {memory_length, batch});
  return concat({Variable(memory), Variable(segment)}, 0).value();
}

}  // namespace

SruStack::SruStack(const StackOptions& options, const TransformFactory& make_transform,
                   Initializer& init)
    : options_(options) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;  // so that sizes of planes do not overflow
  const auto possible = [](std::int64_t size) { return size >= 1 && size <= kMost; };
  check(possible(options.num_layers) && possible(options.input_size) &&
            possible(options.layer.hidden_size),
        "[SruStack] layers, input size and hidden size must be from 1 to {}, found {}, {} and {}",
        kMost, options.num_layers, options.input_size, options.layer.hidden_size);
  std::int64_t in = options.input_size;
  if (options.proj_input_to_hidden_first && in != output_size()) {
    input_to_hidden_.emplace(in, output_size(), init);
    in = output_size();
  }
  for (std::int64_t i = 0; i < options.num_layers; ++i) {
    const std::int64_t out = options.layer.planes(in) * output_size();
    const bool last = i + 1 == options.num_layers;
    layers_.emplace_back(in, options.layer, last ? 0.0 : options.dropout,
                         make_transform(i, in, out, init), init);
    in = output_size();
  }
}

StackOutputs SruStack::forward(const StackInputs& inputs, const ForwardContext& context) const {
  check(inputs.x.shape().rank() == 3 && inputs.x.size(2) == options_.input_size,
        "[SruStack] x has shape {}; expected (T, B, {})", inputs.x.shape().str(),
        options_.input_size);
  check(inputs.c0.empty() || inputs.c0.size() == layers_.size(),
        "[SruStack] c0 has {} entries for {} layers", inputs.c0.size(), layers_.size());
  check(inputs.h0.empty(), "[SruStack] the state has an h, which is of another type of model");
  check(inputs.memory.empty() || inputs.memory.size() == layers_.size(),
        "[SruStack] memory has {} entries for {} layers", inputs.memory.size(), layers_.size());

  StackOutputs out;
  Variable x = input_to_hidden_ ? (*input_to_hidden_)(inputs.x, context.precision) : inputs.x;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    out.inputs.push_back(x);
    LayerInputs layer{{x, inputs.memory.empty() ? Variable() : inputs.memory[i], inputs.mask},
                      inputs.c0.empty() ? Variable() : inputs.c0[i],
                      inputs.mask_pad};
    if (layers_[i].attends()) {
      const Variable& memory = layer.transform.memory;
      layer.transform.mask.key_padding =
          context_padding(inputs.memory_mask_pad, inputs.mask_pad,
                          memory.defined() ? memory.size(0) : 0, x.size(0), x.size(1));
    }
    const LayerOutputs result = layers_[i].forward(layer, context);
    out.c.push_back(result.c);
    x = result.h;
  }
  out.h = x;
  return out;
}

std::unique_ptr<StackStepper> SruStack::stepper(std::int64_t streams, std::int64_t window) const {
  return std::make_unique<SruStackStepper>(*this, streams, window);
}

Parameters SruStack::parameters() const {
  Parameters all;
  if (input_to_hidden_) {
    append(all, "input_to_hidden", input_to_hidden_->parameters());
  }
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    append(all, fmt::format("layers.{}", i), layers_[i].parameters());
  }
  return all;
}

}  // namespace rondo
