// The transforms of SRU++ one position at a time.
#include "models/srupp.h"
#include "ops/attention_step.h"

namespace rondo {

// z = x W1, LayerNorm, U = z W2
class SruppProjectedLinear::Stepper final : public TransformStepper {
 public:
  Stepper(const SruppProjectedLinear& transform, std::int64_t streams)
      : linear1_(transform.linear1_),
        linear2_(transform.linear2_),
        layer_norm_(transform.layer_norm_),
        z_(Tensor::empty({streams, transform.options_.projection_size}, DType::f32,
                         linear1_.weight.device())) {}

  void step(const Tensor& x, const Tensor& /*remembered*/, Tensor& u) override {
    linear1_.step(x, z_);
    if (layer_norm_) {
      layer_norm_->step(z_, z_);
    }
    linear2_.step(z_, u);
  }

 private:
  Linear linear1_, linear2_;
  std::optional<LayerNorm> layer_norm_;
  Tensor z_;  // (B, n)
};

// Keys and values of a position are projected once, when it is read: its input is multiplied by the
// same weights wherever it is seen from.
class SruppAttention::Stepper final : public TransformStepper {
 public:
  Stepper(const SruppAttention& transform, std::int64_t streams, std::int64_t window)
      : options_(transform.options_),
        linear1_(transform.linear1_),
        linear2_(transform.linear2_),
        linear3_(transform.linear3_),
        alpha_(transform.alpha_),
        layer_norm_(transform.layer_norm_),
        cache_(streams, options_.projection_size, options_.num_heads, window + 1,
               linear1_.weight.device()) {
    const auto make = [&](std::int64_t size) {
      return Tensor::empty({streams, size}, DType::f32, linear1_.weight.device());
    };
    residual_ = make(options_.projection_size);
    z_ = normalizes_before() ? make(options_.projection_size) : residual_;
    attended_ = make(options_.projection_size);
    kv_ = make(2 * options_.projection_size);
  }

  void step(const Tensor& x, const Tensor& remembered, Tensor& u) override {
    project(x);
    cache_.append(kv_);
    cache_.attend(z_, attended_);
    add_scaled_step(residual_, alpha_.value(), attended_, attended_);
    if (layer_norm_ && options_.normalize_after) {
      layer_norm_->step(attended_, attended_);
    }
    linear3_.step(attended_, u);
    if (!remembered.shares_storage_with(x)) {
      project(remembered);
      cache_.replace_newest(kv_);
    }
  }

  void remember(const Tensor& memory) override {
    const NoGradGuard no_grad;
    Variable z = linear1_(Variable(memory), Precision::f32);
    if (normalizes_before()) {
      z = (*layer_norm_)(z);
    }
    cache_.fill(linear2_(z, Precision::f32).value());
  }

 private:
  bool normalizes_before() const { return layer_norm_ && !options_.normalize_after; }

  // x W1, z (the query) and keys and values.
  void project(const Tensor& x) {
    linear1_.step(x, residual_);
    if (normalizes_before()) {
      layer_norm_->step(residual_, z_);
    }
    linear2_.step(z_, kv_);
  }

  SruppTransformOptions options_;
  Linear linear1_, linear2_, linear3_;
  Variable alpha_;
  std::optional<LayerNorm> layer_norm_;
  AttentionCache cache_;
  Tensor residual_, z_, attended_;  // (B, n); z is the residual unless it is normalised before
  Tensor kv_;                       // (B, 2n)
};

std::unique_ptr<TransformStepper> SruppProjectedLinear::stepper(std::int64_t streams,
                                                                std::int64_t /*window*/) const {
  return std::make_unique<Stepper>(*this, streams);
}

std::unique_ptr<TransformStepper> SruppAttention::stepper(std::int64_t streams,
                                                          std::int64_t window) const {
  return std::make_unique<Stepper>(*this, streams, window);
}

}  // namespace rondo
