#include "models/srupp.h"

#include <cmath>

#include "ops/attention.h"
#include "ops/concat.h"
#include "ops/elementwise.h"

namespace rondo {
namespace {

// The last product starts smaller by what dropout before it makes its input larger.
double last_gain(const SruppTransformOptions& options) { return std::sqrt(1.0 - options.dropout); }

std::optional<LayerNorm> make_layer_norm(const SruppTransformOptions& options, Initializer& init) {
  return options.layer_norm ? std::optional<LayerNorm>(std::in_place, options.projection_size, init)
                            : std::nullopt;
}

}  // namespace

SruppProjectedLinear::SruppProjectedLinear(std::int64_t in, std::int64_t out,
                                           const SruppTransformOptions& options, Initializer& init)
    : options_(options),
      linear1_(in, options.projection_size, init),
      linear2_(options.projection_size, out, init, last_gain(options)),
      layer_norm_(make_layer_norm(options, init)) {}

Variable SruppProjectedLinear::forward(const TransformInputs& inputs,
                                       const ForwardContext& context) const {
  Variable z = linear1_(inputs.x, context.precision);
  if (layer_norm_) {
    z = (*layer_norm_)(z);
  }
  return linear2_(dropout_in_training(z, options_.dropout, context), context.precision);
}

Parameters SruppProjectedLinear::parameters() const {
  Parameters all;
  append(all, "linear1", linear1_.parameters());
  append(all, "linear2", linear2_.parameters());
  if (layer_norm_) {
    append(all, "layer_norm", layer_norm_->parameters());
  }
  return all;
}

SruppAttention::SruppAttention(std::int64_t in, std::int64_t out,
                               const SruppTransformOptions& options, Initializer& init)
    : options_(options),
      linear1_(in, options.projection_size, init),
      linear2_(options.projection_size, 2 * options.projection_size, init),
      linear3_(options.projection_size, out, init, last_gain(options)),
      alpha_(init.constant({1}, 0.0)),
      layer_norm_(make_layer_norm(options, init)) {}

Variable SruppAttention::forward(const TransformInputs& inputs,
                                 const ForwardContext& context) const {
  // z = [memory ; x] W1
  const std::int64_t steps = inputs.x.size(0);
  std::vector<Variable> parts{inputs.x};
  if (inputs.memory.defined()) {
    check(inputs.memory.shape().rank() == 3 && inputs.memory.size(1) == inputs.x.size(1),
          "[SruppAttention] memory has shape {}; expected (M, {}, {}) for x {}",
          inputs.memory.shape().str(), inputs.x.size(1), inputs.x.size(2), inputs.x.shape().str());
    parts.insert(parts.begin(), inputs.memory);
  }
  Variable z = linear1_(parts, context.precision);
  const auto of_segment = [steps](const Variable& all) {
    return all.size(0) == steps ? all : narrow(all, all.size(0) - steps, steps);
  };
  const Variable residual = of_segment(z);
  const bool before = layer_norm_ && !options_.normalize_after;
  const bool after = layer_norm_ && options_.normalize_after;
  if (before) {
    z = (*layer_norm_)(z);
  }
  const Variable q = before ? of_segment(z) : residual;
  const Variable kv = linear2_(z, context.precision);
  AttentionOptions options;
  options.num_heads = options_.num_heads;
  options.precision = context.precision;
  if (context.training) {
    options.dropout = options_.attention_dropout;
    options.generator = context.generator;
  }
  Variable o = add_scaled(residual, alpha_, attention(q, kv, inputs.mask, options));
  if (after) {
    o = (*layer_norm_)(o);
  }
  return linear3_(dropout_in_training(o, options_.dropout, context), context.precision);
}

Parameters SruppAttention::parameters() const {
  Parameters all;
  append(all, "linear1", linear1_.parameters());
  append(all, "linear2", linear2_.parameters());
  append(all, "linear3", linear3_.parameters());
  all.push_back({"alpha", alpha_});
  if (layer_norm_) {
    append(all, "layer_norm", layer_norm_->parameters());
  }
  return all;
}

SruStack make_srupp(const SruppOptions& options, Initializer& init) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  check(options.transform.projection_size >= 1 && options.transform.projection_size <= kMost,
        "[SRU++] projection_size must be from 1 to {}, found {}", kMost,
        options.transform.projection_size);
  check(options.transform.num_heads >= 1 &&
            options.transform.projection_size % options.transform.num_heads == 0,
        "[SRU++] {} heads do not divide projection_size {}", options.transform.num_heads,
        options.transform.projection_size);
  const auto make_transform = [&](std::int64_t index, std::int64_t in, std::int64_t out,
                                  Initializer& i) -> std::unique_ptr<Transform> {
    if (!options.attends || options.attends(index)) {
      return std::make_unique<SruppAttention>(in, out, options.transform, i);
    }
    return std::make_unique<SruppProjectedLinear>(in, out, options.transform, i);
  };
  return SruStack(options.stack, make_transform, init);
}

}  // namespace rondo
