// The SHA-LSTM one position at a time.
#include "models/sha_lstm.h"
#include "ops/attention_step.h"
#include "ops/concat.h"

namespace rondo {
namespace {

Tensor make(std::int64_t streams, std::int64_t size, Device device) {
  return Tensor::empty({streams, size}, DType::f32, device);
}

// Keys and values of a position are made once, when it is read.
class ShaAttentionStepper {
 public:
  ShaAttentionStepper(const ShaAttentionWeights& weights, std::int64_t num_heads,
                      std::int64_t streams, std::int64_t window)
      : weights_(weights),
        cache_(streams, weights.query_weight.size(0), num_heads, window + 1, device()) {
    const NoGradGuard no_grad;
    gated_ = weights_.gated();
    const std::int64_t size = weights_.query_weight.size(0);
    one_ = Tensor::full({1}, 1.0, DType::f32, device());
    query_ = make(streams, size, device());
    attended_ = make(streams, size, device());
    residual_ = make(streams, size, device());
    kv_ = make(streams, 2 * size, device());
    for (std::int64_t s = 0; s < streams; ++s) {
      keys_.push_back(kv_[s].narrow(0, size).reshape({1, size}));
      values_.push_back(kv_[s].narrow(size, size).reshape({1, size}));
    }
  }

  const Tensor& step(const Tensor& h) {
    for (std::size_t s = 0; s < keys_.size(); ++s) {
      const Tensor row = h.narrow(static_cast<std::int64_t>(s), 1);
      weights_.memory_norm.step(row, keys_[s]);
      layer_norm_step(row, gated_.value_weight.value(), gated_.value_bias.value(), values_[s]);
    }
    cache_.append(kv_);
    weights_.residual_norm.step(h, residual_);
    linear_step(residual_, weights_.query_weight.value(), weights_.query_bias.value(), query_);
    layer_norm_step(query_, gated_.query_weight.value(), gated_.query_bias.value(), query_);
    cache_.attend(query_, attended_);
    add_scaled_step(residual_, one_, attended_, residual_);
    return residual_;
  }

  void remember(const Tensor& memory) {
    const NoGradGuard no_grad;
    const Variable m(memory);
    cache_.fill(
        concat({weights_.memory_norm(m), layer_norm(m, gated_.value_weight, gated_.value_bias)}, -1)
            .value());
  }

 private:
  Device device() const { return weights_.query_weight.device(); }

  ShaAttentionWeights weights_;  // shared with the model
  ShaAttentionWeights::Gated gated_;
  AttentionCache cache_;
  Tensor one_;                          // (1)
  Tensor query_, attended_, residual_;  // (B, D)
  Tensor kv_;                           // (B, 2*D)
  std::vector<Tensor> keys_, values_;   // (1, D) each: the halves of each row of kv
};

class ShaLayerStepper {
 public:
  ShaLayerStepper(const ShaLstmLayerWeights& weights, std::int64_t num_heads, std::int64_t streams,
                  std::int64_t window)
      : weights_(weights), lstm_(weights.lstm, streams) {
    if (weights.attention) {
      attention_.emplace(*weights.attention, num_heads, streams, window);
    }
    const Device device = weights.boom_weight.device();
    normalized_ = make(streams, weights.boom_weight.size(1), device);
    inner_ = make(streams, weights.boom_weight.size(0), device);
    out_ = make(streams, weights.boom_weight.size(1), device);
  }

  const Tensor& step(const Tensor& x) {
    weights_.input_norm.step(x, normalized_);
    const Tensor* h = &lstm_.step(normalized_);
    if (attention_) {
      h = &attention_->step(*h);
    }
    weights_.boom_norm.step(*h, normalized_);
    linear_step(normalized_, weights_.boom_weight.value(), weights_.boom_bias.value(), inner_);
    weights_.boom_residual_norm.step(*h, out_);
    add_gelu_chunks_step(inner_, out_);
    return out_;
  }

  void restore(const Tensor& c, const Tensor& h, const Tensor& memory) {
    lstm_.restore(c, h);
    if (attention_ && memory.defined()) {
      attention_->remember(memory);
    }
  }

 private:
  ShaLstmLayerWeights weights_;  // shared with the model
  LstmLayerStepper lstm_;
  std::optional<ShaAttentionStepper> attention_;
  Tensor normalized_, out_;  // (B, D)
  Tensor inner_;             // (B, inner)
};

class ShaLstmStepper final : public StackStepper {
 public:
  ShaLstmStepper(const std::vector<ShaLstmLayerWeights>& layers, std::int64_t num_heads,
                 std::int64_t streams, std::int64_t window) {
    for (const ShaLstmLayerWeights& layer : layers) {
      layers_.emplace_back(layer, num_heads, streams, window);
    }
  }

  const Tensor& step(const Tensor& x) override {
    const Tensor* h = &x;
    for (ShaLayerStepper& layer : layers_) {
      h = &layer.step(*h);
    }
    return *h;
  }

  void restore(const std::vector<Tensor>& c, const std::vector<Tensor>& h,
               const std::vector<Tensor>& memory) override {
    check(
        c.size() == layers_.size() && h.size() == layers_.size() && memory.size() == layers_.size(),
        "[ShaLstmStepper] {} c, {} h and {} memories for {} layers", c.size(), h.size(),
        memory.size(), layers_.size());
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      layers_[i].restore(c[i], h[i], memory[i]);
    }
  }

 private:
  std::vector<ShaLayerStepper> layers_;
};

}  // namespace

std::unique_ptr<StackStepper> ShaLstmStack::stepper(std::int64_t streams,
                                                    std::int64_t window) const {
  const Tensor& weight = layers_.front().boom_weight.value();
  check(weight.dtype() == DType::f32 && !weight.device().is_meta(),
        "[ShaLstmStack] the weights are {} on {}; stepping needs f32 weights, on the CPU or a GPU",
        name(weight.dtype()), weight.device().str());
  return std::make_unique<ShaLstmStepper>(layers_, options_.num_heads, streams, window);
}

}  // namespace rondo
