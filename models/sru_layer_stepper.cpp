#include "models/sru_layer_stepper.h"

namespace rondo {

SruLayerStepper::SruLayerStepper(const SruLayer& layer, std::int64_t streams, std::int64_t window)
    : takes_x_(layer.takes_x_),
      layer_norm_place_(layer.options_.layer_norm),
      scan_(layer.options_.scan()),
      weight_c_(layer.weight_c_),
      bias_(layer.bias_),
      layer_norm_(layer.layer_norm_),
      transform_(layer.transform_->stepper(streams, window)) {
  check(!layer.options_.bidirectional,
        "[SruLayerStepper] a bidirectional layer cannot be stepped: half of it starts at the end");
  const std::int64_t units = layer.options_.output_size();
  const std::int64_t planes = layer.options_.has_skip_term && !takes_x_ ? 4 : 3;
  const Device device = weight_c_.device();
  if (layer_norm_place_ == LayerNormPlace::pre) {
    normalized_ = Tensor::empty({streams, layer_norm_->weight.size(0)}, DType::f32, device);
  }
  u_ = Tensor::empty({streams, planes * units}, DType::f32, device);
  c_ = Tensor::zeros({streams, units}, DType::f32, device);
  h_ = Tensor::empty({streams, units}, DType::f32, device);
}

const Tensor& SruLayerStepper::step(const Tensor& x) {
  const bool pre = layer_norm_place_ == LayerNormPlace::pre;
  if (pre) {
    layer_norm_->step(x, normalized_);  // the skip term and memory stay raw
  }
  transform_->step(pre ? normalized_ : x, x, u_);
  sru_step(u_, takes_x_ ? x : Tensor(), weight_c_.value(), bias_.value(), scan_, c_, h_);
  if (layer_norm_place_ == LayerNormPlace::post) {
    layer_norm_->step(h_, h_);
  }
  return h_;
}

void SruLayerStepper::restore(const Tensor& c, const Tensor& memory) {
  check(c.defined() && c.shape().rank() == 2 && c.size(1) == c_.size(1) &&
            (c.size(0) == c_.size(0) || c.size(0) == 1),
        "[SruLayerStepper] c has shape {}; expected {}, or 1 stream",
        c.defined() ? c.shape().str() : "none", c_.shape().str());
  for (std::int64_t s = 0; s < c_.size(0); ++s) {
    c_[s].copy_from(c[c.size(0) == 1 ? 0 : s]);
  }
  if (memory.defined()) {
    transform_->remember(memory);
  }
}

}  // namespace rondo
