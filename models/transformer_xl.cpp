#include "models/transformer_xl.h"

#include <algorithm>
#include <cmath>

#include "ops/elementwise.h"
#include "ops/relative_attention.h"

namespace rondo {

TransformerXlLayer::TransformerXlLayer(const TransformerOptions& options, Initializer& init)
    : query(options.hidden_size, options.attention_size(), init),
      key_value(options.hidden_size, 2 * options.attention_size(), init),
      position(options.hidden_size, options.attention_size(), init),
      output(options.attention_size(), options.hidden_size, init),
      content_bias(init.constant({options.num_heads, options.head_size}, 0.0)),
      position_bias(init.constant({options.num_heads, options.head_size}, 0.0)),
      attention_norm(options.hidden_size, init),
      feed_forward(options, init),
      feed_forward_norm(options.hidden_size, init) {}

Parameters TransformerXlLayer::parameters() const {
  Parameters all;
  append(all, "query", query.parameters());
  append(all, "key_value", key_value.parameters());
  append(all, "position", position.parameters());
  append(all, "output", output.parameters());
  all.push_back({"content_bias", content_bias});
  all.push_back({"position_bias", position_bias});
  append(all, "attention_norm", attention_norm.parameters());
  append(all, "feed_forward", feed_forward.parameters());
  append(all, "feed_forward_norm", feed_forward_norm.parameters());
  return all;
}

TransformerXlStack::TransformerXlStack(const TransformerOptions& options, Initializer& init)
    : options_((options.check_sizes("TransformerXlStack"), options)),
      sinusoids_(options.hidden_size) {
  for (std::int64_t i = 0; i < options.num_layers; ++i) {
    layers_.emplace_back(options, init);
  }
}

Variable TransformerXlStack::scaled(const Variable& x) const {
  return scale(x, std::sqrt(static_cast<double>(options_.hidden_size)));
}

StackOutputs TransformerXlStack::forward(const StackInputs& inputs,
                                         const ForwardContext& context) const {
  check_inputs("TransformerXlStack", options_, inputs);
  const std::int64_t steps = inputs.x.size(0);
  std::int64_t remembered = 0;
  for (const Variable& memory : inputs.memory) {
    remembered = std::max(remembered, memory.defined() ? memory.size(0) : 0);
  }
  const std::int64_t window = inputs.mask.window;
  const std::int64_t distances =
      window > 0 ? std::min(window + 1, remembered + steps) : remembered + steps;
  const Variable sinusoids = dropout_in_training(
      Variable(sinusoids_.falling(distances, inputs.x.dtype(), inputs.x.device())),
      options_.dropout, context);

  StackOutputs out;
  Variable x = scaled(inputs.x);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const TransformerXlLayer& layer = layers_[i];
    out.inputs.push_back(x);
    std::vector<Variable> seen{x};
    if (!inputs.memory.empty() && inputs.memory[i].defined()) {
      seen.insert(seen.begin(), inputs.memory[i]);
    }
    const RelativeAttentionInputs attention{
        layer.query(x, context.precision), layer.key_value(seen, context.precision),
        layer.position(sinusoids, context.precision), layer.content_bias, layer.position_bias};
    const Variable attended =
        layer.output(relative_attention(attention, window, attention_options(options_, context)),
                     context.precision);
    const Variable a =
        layer.attention_norm(add(x, dropout_in_training(attended, options_.dropout, context)));
    x = layer.feed_forward_norm(
        add(a, dropout_in_training(layer.feed_forward(a, context), options_.dropout, context)));
  }
  out.h = x;
  return out;
}

Parameters TransformerXlStack::parameters() const {
  Parameters all;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    append(all, fmt::format("layers.{}", i), layers_[i].parameters());
  }
  return all;
}

}  // namespace rondo
