// Transformer-XL one position at a time.
#include "models/transformer_xl.h"
#include "ops/attention_step.h"
#include "ops/stepping.h"

namespace rondo {

// Keys and values of a position are projected once, when it is read; the rows of distances once and
// for all.
class TransformerXlStack::Stepper final : public StackStepper {
 public:
  Stepper(const TransformerXlStack& stack, std::int64_t streams, std::int64_t window)
      : layers_(stack.layers_),
        buffers_(stack.options_, streams, layers_.front().content_bias.device()) {
    const TransformerOptions& options = stack.options_;
    const Device device = buffers_.x.device();
    const NoGradGuard no_grad;
    const Variable sinusoids(stack.sinusoids_.falling(window + 1, DType::f32, device));
    for (const TransformerXlLayer& layer : layers_) {
      AttentionCache& cache = caches_.emplace_back(streams, options.attention_size(),
                                                   options.num_heads, window + 1, device);
      cache.tell_distances({layer.position(sinusoids, Precision::f32).value(),
                            layer.content_bias.value(), layer.position_bias.value()});
    }
    zeros_ = Tensor::zeros({streams, options.hidden_size}, DType::f32, device);
  }

  const Tensor& step(const Tensor& x) override {
    add_scaled_step(zeros_, buffers_.scale, x, buffers_.x);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      step_layer(layers_[i], caches_[i]);
    }
    return buffers_.x;
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
    Tensor& x = buffers_.x;
    buffers_.attend(layer.query, layer.key_value, layer.output, x, cache);
    layer.attention_norm.step(x, x);
    buffers_.feed_forward(layer.feed_forward, x);
    layer.feed_forward_norm.step(x, x);
  }

  std::vector<TransformerXlLayer> layers_;  // share their weights with the model
  std::vector<AttentionCache> caches_;
  TransformerStepBuffers buffers_;
  Tensor zeros_;  // (B, d)
};

std::unique_ptr<StackStepper> TransformerXlStack::stepper(std::int64_t streams,
                                                          std::int64_t window) const {
  return std::make_unique<Stepper>(*this, streams, window);
}

}  // namespace rondo
