// Transformer-XL one position at a time.
#include <cmath>

#include "models/transformer_xl.h"
#include "ops/attention_step.h"
#include "ops/stepping.h"

namespace rondo {

// Keys and values of a position are projected once, when it is read; the rows of distances once and
// for all.
class TransformerXlStack::Stepper final : public StackStepper {
 public:
  Stepper(const TransformerXlStack& stack, std::int64_t streams, std::int64_t window)
      : layers_(stack.layers_) {
    const TransformerOptions& options = stack.options_;
    const Device device = layers_.front().content_bias.device();
    const auto make = [&](std::int64_t size) {
      return Tensor::empty({streams, size}, DType::f32, device);
    };
    const NoGradGuard no_grad;
    const Variable sinusoids(stack.sinusoids_.falling(window + 1, DType::f32, device));
    for (const TransformerXlLayer& layer : layers_) {
      AttentionCache& cache = caches_.emplace_back(streams, options.attention_size(),
                                                   options.num_heads, window + 1, device);
      cache.tell_distances({layer.position(sinusoids, Precision::f32).value(),
                            layer.content_bias.value(), layer.position_bias.value()});
    }
    zeros_ = Tensor::zeros({streams, options.hidden_size}, DType::f32, device);
    scale_ =
        Tensor::full({1}, std::sqrt(static_cast<double>(options.hidden_size)), DType::f32, device);
    one_ = Tensor::full({1}, 1.0, DType::f32, device);
    x_ = make(options.hidden_size);
    part_ = make(options.hidden_size);
    q_ = make(options.attention_size());
    kv_ = make(2 * options.attention_size());
    attended_ = make(options.attention_size());
    inner_ = make(options.inner_size);
  }

  const Tensor& step(const Tensor& x) override {
    add_scaled_step(zeros_, scale_, x, x_);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      step_layer(layers_[i], caches_[i]);
    }
    return x_;
  }

  void restore(const std::vector<Tensor>& /*c*/, const std::vector<Tensor>& /*h*/,
               const std::vector<Tensor>& memory) override {
    check(memory.size() == layers_.size(), "[TransformerXlStack] {} memories for {} layers",
          memory.size(), layers_.size());
    const NoGradGuard no_grad;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      caches_[i].fill(layers_[i].key_value(Variable(memory[i]), Precision::f32).value());
    }
  }

 private:
  void step_layer(const TransformerXlLayer& layer, AttentionCache& cache) {
    layer.query.step(x_, q_);
    layer.key_value.step(x_, kv_);
    cache.append(kv_);
    cache.attend(q_, attended_);
    layer.output.step(attended_, part_);
    add_scaled_step(x_, one_, part_, x_);
    layer.attention_norm.step(x_, x_);
    layer.feed_forward.step(x_, inner_, part_);
    add_scaled_step(x_, one_, part_, x_);
    layer.feed_forward_norm.step(x_, x_);
  }

  std::vector<TransformerXlLayer> layers_;  // share their weights with the model
  std::vector<AttentionCache> caches_;
  Tensor zeros_;         // (B, d)
  Tensor scale_, one_;   // (1)
  Tensor x_, part_;      // (B, d)
  Tensor q_, attended_;  // (B, n)
  Tensor kv_;            // (B, 2n)
  Tensor inner_;         // (B, inner)
};

std::unique_ptr<StackStepper> TransformerXlStack::stepper(std::int64_t streams,
                                                          std::int64_t window) const {
  return std::make_unique<Stepper>(*this, streams, window);
}

}  // namespace rondo
