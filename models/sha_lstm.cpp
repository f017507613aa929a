#include "models/sha_lstm.h"

#include <algorithm>
#include <cmath>

#include "ops/attention.h"
#include "ops/concat.h"
#include "ops/elementwise.h"
#include "ops/lstm.h"

namespace rondo {
namespace {

// A matrix whose elements deviate by 0.1 / sqrt(D), as in the author's code: much less than
// Xavier's, so that at first layers add little to what passes them by.
Variable small_matrix(const Shape& shape, std::int64_t hidden_size, Initializer& init) {
  return init.uniform(shape, 0.1 * std::sqrt(3.0 / static_cast<double>(hidden_size)));
}

Variable attend(const ShaAttentionWeights& weights, const Variable& h, const Variable& memory,
                const AttentionMask& mask, const ShaLstmOptions& options,
                const ForwardContext& context) {
  const ShaAttentionWeights::Gated gated = weights.gated();
  const Variable residual = weights.residual_norm(h);
  const Variable q =
      layer_norm(linear(residual, weights.query_weight, weights.query_bias, context.precision),
                 gated.query_weight, gated.query_bias);
  const Variable m = memory.defined() ? concat({memory, h}, 0) : h;
  const Variable kv =
      concat({weights.memory_norm(m), layer_norm(m, gated.value_weight, gated.value_bias)}, -1);
  AttentionOptions attention_options;
  attention_options.num_heads = options.num_heads;
  attention_options.precision = context.precision;
  if (context.training) {
    attention_options.dropout = options.attention_dropout;
    attention_options.generator = context.generator;
  }
  return add(residual, dropout_in_training(attention(q, kv, mask, attention_options),
                                           options.dropout, context));
}

Variable boom(const ShaLstmLayerWeights& weights, const Variable& h, const ShaLstmOptions& options,
              const ForwardContext& context) {
  const Variable inner = dropout_in_training(
      gelu(linear(weights.boom_norm(h), weights.boom_weight, weights.boom_bias, context.precision)),
      options.dropout, context);
  const std::int64_t size = options.hidden_size;
  const std::vector<std::int64_t> sizes(static_cast<std::size_t>(inner.shape().back() / size),
                                        size);
  Variable sum;
  for (const Variable& chunk : split(inner, sizes, -1)) {
    sum = sum.defined() ? add(sum, chunk) : chunk;
  }
  return add(weights.boom_residual_norm(h), dropout_in_training(sum, options.dropout, context));
}

}  // namespace

ShaAttentionWeights::ShaAttentionWeights(std::int64_t hidden_size, Initializer& init)
    : residual_norm(hidden_size, init),
      memory_norm(hidden_size, init),
      query_weight(small_matrix({hidden_size, hidden_size}, hidden_size, init)),
      query_bias(init.constant({hidden_size}, 0.0)),
      query_norm(hidden_size, init),
      query_gate(init.constant({hidden_size}, 0.0)),
      key_gate(init.constant({hidden_size}, 0.0)),
      value_gate(init.constant({hidden_size}, 0.0)),
      value_gate_weight(small_matrix({2 * hidden_size, hidden_size}, hidden_size, init)),
      value_gate_bias(init.constant({2 * hidden_size}, 0.0)) {}

Parameters ShaAttentionWeights::parameters() const {
  Parameters all;
  append(all, "residual_norm", residual_norm.parameters());
  append(all, "memory_norm", memory_norm.parameters());
  all.push_back({"query.weight", query_weight});
  all.push_back({"query.bias", query_bias});
  append(all, "query_norm", query_norm.parameters());
  all.push_back({"query_gate", query_gate});
  all.push_back({"key_gate", key_gate});
  all.push_back({"value_gate", value_gate});
  all.push_back({"value_gate_transform.weight", value_gate_weight});
  all.push_back({"value_gate_transform.bias", value_gate_bias});
  return all;
}

ShaAttentionWeights::Gated ShaAttentionWeights::gated() const {
  const std::int64_t size = value_gate.size(0);
  const Variable of_query = mul(sigmoid(query_gate), sigmoid(key_gate));
  const std::vector<Variable> halves =
      split(linear(sigmoid(value_gate), value_gate_weight, value_gate_bias), {size, size}, 0);
  const Variable of_value = mul(sigmoid(halves[1]), tanh(halves[0]));
  return {mul(query_norm.weight, of_query), mul(query_norm.bias, of_query),
          mul(memory_norm.weight, of_value), mul(memory_norm.bias, of_value)};
}

ShaLstmLayerWeights::ShaLstmLayerWeights(const ShaLstmOptions& options, bool attends,
                                         Initializer& init)
    : input_norm(options.hidden_size, init),
      lstm(options.hidden_size, options.hidden_size, init),
      attention(attends
                    ? std::optional<ShaAttentionWeights>(std::in_place, options.hidden_size, init)
                    : std::nullopt),
      boom_residual_norm(options.hidden_size, init),
      boom_norm(options.hidden_size, init),
      boom_weight(
          small_matrix({options.inner_size, options.hidden_size}, options.hidden_size, init)),
      boom_bias(init.constant({options.inner_size}, 0.0)) {}

Parameters ShaLstmLayerWeights::parameters() const {
  Parameters all;
  append(all, "input_norm", input_norm.parameters());
  append(all, "lstm", lstm.parameters());
  if (attention) {
    append(all, "attention", attention->parameters());
  }
  append(all, "boom_residual_norm", boom_residual_norm.parameters());
  append(all, "boom_norm", boom_norm.parameters());
  all.push_back({"boom.weight", boom_weight});
  all.push_back({"boom.bias", boom_bias});
  return all;
}

ShaLstmStack::ShaLstmStack(const ShaLstmOptions& options, Initializer& init) : options_(options) {
  constexpr std::int64_t kMost = std::int64_t{1} << 28;  // so that sizes of planes do not overflow
  const auto possible = [](std::int64_t size) { return size >= 1 && size <= kMost; };
  check(
      possible(options.num_layers) && possible(options.hidden_size) && possible(options.inner_size),
      "[ShaLstmStack] layers, hidden size and inner size must be from 1 to {}, found {}, {} and "
      "{}",
      kMost, options.num_layers, options.hidden_size, options.inner_size);
  check(options.inner_size % options.hidden_size == 0,
        "[ShaLstmStack] inner size {} is not a multiple of hidden size {}, the size of its chunks",
        options.inner_size, options.hidden_size);
  check(options.num_heads >= 1 && options.hidden_size % options.num_heads == 0,
        "[ShaLstmStack] {} heads do not divide hidden size {}", options.num_heads,
        options.hidden_size);
  for (std::int64_t i = 0; i < options.num_layers; ++i) {
    const bool attends = options.attends ? options.attends(i)
                                         : i == std::max<std::int64_t>(options.num_layers - 2, 0);
    layers_.emplace_back(options, attends, init);
  }
}

StackOutputs ShaLstmStack::forward(const StackInputs& inputs, const ForwardContext& context) const {
  check(inputs.x.shape().rank() == 3 && inputs.x.size(2) == options_.hidden_size,
        "[ShaLstmStack] x has shape {}; expected (T, B, {})", inputs.x.shape().str(),
        options_.hidden_size);
  check(inputs.c0.size() == inputs.h0.size() &&
            (inputs.c0.empty() || inputs.c0.size() == layers_.size()),
        "[ShaLstmStack] the state has {} c and {} h for {} layers", inputs.c0.size(),
        inputs.h0.size(), layers_.size());
  check(inputs.memory.empty() || inputs.memory.size() == layers_.size(),
        "[ShaLstmStack] memory has {} entries for {} layers", inputs.memory.size(), layers_.size());
  check(!inputs.mask_pad.defined() && !inputs.memory_mask_pad.defined(),
        "[ShaLstmStack] padding was given, which a SHA-LSTM does not know here");

  StackOutputs out;
  Variable x = inputs.x;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const ShaLstmLayerWeights& layer = layers_[i];
    const LstmOutputs result =
        lstm({layer.input_norm(x), layer.lstm.weight_ih, layer.lstm.weight_hh, layer.lstm.bias,
              inputs.h0.empty() ? Variable() : inputs.h0[i],
              inputs.c0.empty() ? Variable() : inputs.c0[i]},
             context.precision);
    out.c.push_back(result.c_last);
    out.h_last.push_back(result.h_last);
    x = dropout_in_training(result.h, options_.dropout, context);
    out.inputs.push_back(x);
    if (layer.attention) {
      const Variable memory = inputs.memory.empty() ? Variable() : inputs.memory[i];
      check(!memory.defined() || (memory.shape().rank() == 3 && memory.size(1) == x.size(1) &&
                                  memory.size(2) == x.size(2)),
            "[ShaLstmStack] memory has shape {}; expected (M, {}, {})",
            memory.defined() ? memory.shape().str() : "", x.size(1), x.size(2));
      x = attend(*layer.attention, x, memory, inputs.mask, options_, context);
    }
    x = boom(layer, x, options_, context);
  }
  out.h = x;
  return out;
}

Parameters ShaLstmStack::parameters() const {
  Parameters all;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    append(all, fmt::format("layers.{}", i), layers_[i].parameters());
  }
  return all;
}

}  // namespace rondo
