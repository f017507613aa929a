#include "models/transformer_parts.h"

#include "ops/elementwise.h"

namespace rondo {

void TransformerOptions::check_sizes(std::string_view stack) const {
  constexpr std::int64_t kMost = std::int64_t{1} << 28;  // so that their products do not overflow
  const auto possible = [](std::int64_t size) { return size >= 1 && size <= kMost; };
  check(possible(hidden_size) && possible(num_layers) && possible(num_heads) &&
            possible(head_size) && possible(inner_size) && possible(attention_size()),
        "[{}] hidden size, layers, heads, head size and inner size must be from 1 to {}, found {}, "
        "{}, {}, {} and {}",
        stack, kMost, hidden_size, num_layers, num_heads, head_size, inner_size);
}

AttentionOptions attention_options(const TransformerOptions& options,
                                   const ForwardContext& context) {
  AttentionOptions attention;
  attention.num_heads = options.num_heads;
  attention.precision = context.precision;
  if (context.training) {
    attention.dropout = options.attention_dropout;
    attention.generator = context.generator;
  }
  return attention;
}

void check_inputs(std::string_view stack, const TransformerOptions& options,
                  const StackInputs& inputs) {
  const Variable& x = inputs.x;
  check(x.shape().rank() == 3 && x.size(2) == options.hidden_size,
        "[{}] x has shape {}; expected (T, B, {})", stack, x.shape().str(), options.hidden_size);
  check(inputs.c0.empty() && inputs.h0.empty(),
        "[{}] the state has a c or an h, which is of another type of model", stack);
  check(inputs.memory.empty() ||
            static_cast<std::int64_t>(inputs.memory.size()) == options.num_layers,
        "[{}] memory has {} entries for {} layers", stack, inputs.memory.size(),
        options.num_layers);
  for (const Variable& memory : inputs.memory) {
    check(!memory.defined() || (memory.shape().rank() == 3 && memory.size(1) == x.size(1) &&
                                memory.size(2) == x.size(2)),
          "[{}] memory has shape {}; expected (M, {}, {}) for x {}", stack,
          memory.defined() ? memory.shape().str() : "", x.size(1), x.size(2), x.shape().str());
  }
  check(!inputs.mask_pad.defined() && !inputs.memory_mask_pad.defined(),
        "[{}] padding was given, which is not known here", stack);
}

FeedForward::FeedForward(const TransformerOptions& options, Initializer& init)
    : weight1(init.xavier(options.inner_size, options.hidden_size)),
      bias1(init.constant({options.inner_size}, 0.0)),
      weight2(init.xavier(options.hidden_size, options.inner_size)),
      bias2(init.constant({options.hidden_size}, 0.0)),
      dropout(options.dropout) {}

Variable FeedForward::operator()(const Variable& x, const ForwardContext& context) const {
  const Variable inner = relu(linear(x, weight1, bias1, context.precision));
  return linear(dropout_in_training(inner, dropout, context), weight2, bias2, context.precision);
}

void FeedForward::step(const Tensor& x, Tensor& inner, Tensor& y) const {
  linear_step(x, weight1.value(), bias1.value(), inner);
  relu_step(inner);
  linear_step(inner, weight2.value(), bias2.value(), y);
}

Parameters FeedForward::parameters() const {
  return {{"weight1", weight1}, {"bias1", bias1}, {"weight2", weight2}, {"bias2", bias2}};
}

}  // namespace rondo
