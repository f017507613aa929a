#include "models/transformer_parts.h"

#include <cmath>

#include "ops/elementwise.h"
#include "ops/stepping.h"

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

TransformerStepBuffers::TransformerStepBuffers(const TransformerOptions& options,
                                               std::int64_t streams, Device device) {
  const auto make = [&](std::int64_t size) {
    return Tensor::empty({streams, size}, DType::f32, device);
  };
  const double root = std::sqrt(static_cast<double>(options.hidden_size));
  scale = Tensor::full({1}, root, DType::f32, device);
  one_ = Tensor::full({1}, 1.0, DType::f32, device);
  x = make(options.hidden_size);
  part_ = make(options.hidden_size);
  q_ = make(options.attention_size());
  kv_ = make(2 * options.attention_size());
  attended_ = make(options.attention_size());
  inner_ = make(options.inner_size);
}

void TransformerStepBuffers::attend(const Linear& query, const Linear& key_value,
                                    const Linear& output, const Tensor& from,
                                    AttentionCache& cache) {
  query.step(from, q_);
  key_value.step(from, kv_);
  cache.append(kv_);
  cache.attend(q_, attended_);
  output.step(attended_, part_);
  add_scaled_step(x, one_, part_, x);
}

void TransformerStepBuffers::feed_forward(const FeedForward& part, const Tensor& from) {
  part.step(from, inner_, part_);
  add_scaled_step(x, one_, part_, x);
}

}  // namespace rondo
