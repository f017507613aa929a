#include "models/sru_layer.h"

#include <cmath>

#include "ops/dropout.h"

namespace rondo {

SruScanOptions LayerOptions::scan() const {
  SruScanOptions scan;
  scan.activation = activation;
  scan.has_skip_term = has_skip_term;
  scan.bidirectional = bidirectional;
  scan.scale_x = rescale && has_skip_term ? std::sqrt(1.0 + 2.0 * std::exp(highway_bias)) : 1.0;
  return scan;
}

SruLayer::SruLayer(std::int64_t input_size, const LayerOptions& options, double state_dropout,
                   std::unique_ptr<Transform> transform, Initializer& init)
    : options_(options),
      state_dropout_(state_dropout),
      takes_x_(options.has_skip_term && options.planes(input_size) == 3),
      transform_(std::move(transform)) {
  const std::int64_t units = options.output_size();
  weight_c_ = init.uniform({2 * units}, options.weight_c_init);
  bias_ = init.constant({2 * units}, 0.0);
  if (!bias_.device().is_meta()) {
    bias_.value().narrow(units, units).fill(options.highway_bias);  // the reset half
  }
  if (options.layer_norm != LayerNormPlace::none) {
    layer_norm_.emplace(options.layer_norm == LayerNormPlace::pre ? input_size : units, init);
  }
}

LayerOutputs SruLayer::forward(const LayerInputs& inputs, const ForwardContext& context) const {
  const Variable& x = inputs.transform.x;
  TransformInputs transform_inputs = inputs.transform;
  if (options_.layer_norm == LayerNormPlace::pre) {
    transform_inputs.x = (*layer_norm_)(x);  // the skip term and memory stay raw
  }
  const Variable u = transform_->forward(transform_inputs, context);

  Tensor mask_c;
  if (context.training && state_dropout_ > 0.0) {
    check(context.generator != nullptr, "[SruLayer] training with dropout {} needs a generator",
          state_dropout_);
    // The recurrent state has the type of the parameters, whatever that of x is.
    mask_c = dropout_mask({x.size(1), options_.output_size()}, state_dropout_, weight_c_.dtype(),
                          *context.generator, x.device());
  }
  const SruScanOutputs out =
      sru_scan({u, takes_x_ ? x : Variable(), weight_c_, bias_, inputs.c0, mask_c, inputs.mask_pad},
               options_.scan());
  const bool post = options_.layer_norm == LayerNormPlace::post;
  return {post ? (*layer_norm_)(out.h) : out.h, out.c_last};
}

Parameters SruLayer::parameters() const {
  Parameters all;
  append(all, "transform", transform_->parameters());
  all.push_back({"weight_c", weight_c_});
  all.push_back({"bias", bias_});
  if (layer_norm_) {
    append(all, "layer_norm", layer_norm_->parameters());
  }
  return all;
}

}  // namespace rondo
