#include "models/transformer.h"

#include <algorithm>
#include <cmath>

#include "ops/concat.h"
#include "ops/elementwise.h"

namespace rondo {

TransformerLayer::TransformerLayer(const TransformerOptions& options, Initializer& init)
    : attention_norm(options.hidden_size, init),
      query(options.hidden_size, options.attention_size(), init),
      key_value(options.hidden_size, 2 * options.attention_size(), init),
      output(options.attention_size(), options.hidden_size, init),
      feed_forward_norm(options.hidden_size, init),
      feed_forward(options, init) {}

Variable TransformerLayer::forward(const Variable& x, const TransformerOptions& options,
                                   const ForwardContext& context, Variable* kv) const {
  const Variable z = attention_norm(x);
  const Variable keys_and_values = key_value(z, context.precision);
  if (kv != nullptr) {
    *kv = keys_and_values;
  }
  const Variable attended = attention(query(z, context.precision), keys_and_values, {},
                                      attention_options(options, context));
  const Variable a =
      add(x, dropout_in_training(output(attended, context.precision), options.dropout, context));
  return add(a, dropout_in_training(feed_forward(feed_forward_norm(a), context), options.dropout,
                                    context));
}

Parameters TransformerLayer::parameters() const {
  Parameters all;
  append(all, "attention_norm", attention_norm.parameters());
  append(all, "query", query.parameters());
  append(all, "key_value", key_value.parameters());
  append(all, "output", output.parameters());
  append(all, "feed_forward_norm", feed_forward_norm.parameters());
  append(all, "feed_forward", feed_forward.parameters());
  return all;
}

TransformerStack::TransformerStack(const TransformerOptions& options, Initializer& init)
    : options_((options.check_sizes("TransformerStack"), options)),
      sinusoids_(options.hidden_size),
      last_norm_(options.hidden_size, init) {
  for (std::int64_t i = 0; i < options.num_layers; ++i) {
    layers_.emplace_back(options, init);
  }
}

Variable TransformerStack::with_positions(const Variable& x) const {
  const Tensor positions = sinusoids_.spread(x.size(0), x.size(1), x.dtype(), x.device());
  return add(scale(x, std::sqrt(static_cast<double>(options_.hidden_size))), Variable(positions));
}

StackOutputs TransformerStack::forward(const StackInputs& inputs,
                                       const ForwardContext& context) const {
  check_inputs("TransformerStack", options_, inputs);
  const std::int64_t steps = inputs.x.size(0);
  StackOutputs out;
  out.inputs.resize(layers_.size());
  Variable x = inputs.x;
  if (!context.training) {
    out.inputs[0] = inputs.x;
    if (!inputs.memory.empty() && inputs.memory[0].defined()) {
      const Variable& memory = inputs.memory[0];
      const std::int64_t kept = std::min(memory.size(0), inputs.mask.window - steps);
      if (kept > 0) {
        x = concat({narrow(memory, memory.size(0) - kept, kept), x}, 0);
      }
    }
  }
  x = with_positions(x);
  for (const TransformerLayer& layer : layers_) {
    x = layer.forward(x, options_, context);
  }
  out.h = last_norm_(narrow(x, x.size(0) - steps, steps));
  return out;
}

Parameters TransformerStack::parameters() const {
  Parameters all;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    append(all, fmt::format("layers.{}", i), layers_[i].parameters());
  }
  append(all, "last_norm", last_norm_.parameters());
  return all;
}

}  // namespace rondo
