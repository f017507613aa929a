// The plain Transformer one position at a time.
#include "models/transformer.h"
#include "ops/attention_step.h"
#include "ops/elementwise.h"
#include "ops/stepping.h"

namespace rondo {

class TransformerStack::Stepper final : public StackStepper {
 public:
  Stepper(const TransformerStack& stack, std::int64_t streams, std::int64_t window)
      : stack_(stack),
        streams_(streams),
        window_(window),
        buffers_(stack.options_, streams, device()),
        normalized_(Tensor::empty(buffers_.x.shape(), DType::f32, device())) {
    const TransformerOptions& options = stack.options_;
    for (std::int64_t i = 0; i < options.num_layers; ++i) {
      caches_.emplace_back(streams, options.attention_size(), options.num_heads, window, device());
    }
    positions_ = stack.sinusoids_.spread(window, streams, DType::f32, device());
    history_ = Tensor::empty({window, streams, options.hidden_size}, DType::f32, device());
  }

  const Tensor& step(const Tensor& x) override {
    if (filled_ == window_) {
      restart();
    }
    history_[filled_].copy_from(x);
    add_scaled_step(positions_[filled_], buffers_.scale, x, buffers_.x);
    ++filled_;
    for (std::size_t i = 0; i < caches_.size(); ++i) {
      step_layer(stack_.layers_[i], caches_[i]);
    }
    stack_.last_norm_.step(buffers_.x, buffers_.x);
    return buffers_.x;
  }

  // Where a position stands in the window, the CPU tells the kernels.
  bool repeats() const override { return false; }

  void restore(const std::vector<Tensor>& /*c*/, const std::vector<Tensor>& /*h*/,
               const std::vector<Tensor>& memory) override {
    check(!memory.empty() && memory[0].defined() && memory[0].shape().rank() == 3 &&
              memory[0].size(0) <= window_ &&
              (memory[0].size(1) == streams_ || memory[0].size(1) == 1) &&
              memory[0].size(2) == buffers_.x.size(1),
          "[TransformerStack] the memory has shape {}; expected (M, {}, {}) or (M, 1, {}) with M "
          "at most {}",
          memory.empty() || !memory[0].defined() ? "none" : memory[0].shape().str(), streams_,
          buffers_.x.size(1), buffers_.x.size(1), window_);
    filled_ = memory[0].size(0);
    for (std::int64_t t = 0; t < filled_; ++t) {
      for (std::int64_t s = 0; s < streams_; ++s) {
        history_[t][s].copy_from(memory[0][t][memory[0].size(1) == 1 ? 0 : s]);
      }
    }
    read_again();
  }

 private:
  Device device() const { return stack_.last_norm_.weight.device(); }

  // Leaves the last half of the window, which becomes the first.
  void restart() {
    const std::int64_t kept = window_ / 2;
    for (std::int64_t t = 0; t < kept; ++t) {
      history_[t].copy_from(history_[filled_ - kept + t]);
    }
    filled_ = kept;
    read_again();
  }

  // Keys and values of all that is in the history.
  void read_again() {
    const NoGradGuard no_grad;
    Variable x = stack_.with_positions(Variable(history_.narrow(0, filled_)));
    for (std::size_t i = 0; i < caches_.size(); ++i) {
      Variable kv;
      x = stack_.layers_[i].forward(x, stack_.options_, {}, &kv);
      caches_[i].fill(kv.value());
    }
  }

  void step_layer(const TransformerLayer& layer, AttentionCache& cache) {
    layer.attention_norm.step(buffers_.x, normalized_);
    buffers_.attend(layer.query, layer.key_value, layer.output, normalized_, cache);
    layer.feed_forward_norm.step(buffers_.x, normalized_);
    buffers_.feed_forward(layer.feed_forward, normalized_);
  }

  const TransformerStack& stack_;
  std::int64_t streams_, window_;
  std::int64_t filled_ = 0;  // positions since the last restart, with those read again
  std::vector<AttentionCache> caches_;
  TransformerStepBuffers buffers_;
  Tensor normalized_;           // (B, d)
  Tensor positions_, history_;  // (window, B, d): sinusoids, and inputs since the last restart
};

std::unique_ptr<StackStepper> TransformerStack::stepper(std::int64_t streams,
                                                        std::int64_t window) const {
  return std::make_unique<Stepper>(*this, streams, window);
}

}  // namespace rondo
