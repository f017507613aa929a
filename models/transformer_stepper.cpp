// The plain Transformer one position at a time.
#include <cmath>

#include "models/transformer.h"
#include "ops/attention_step.h"
#include "ops/elementwise.h"
#include "ops/stepping.h"

namespace rondo {

class TransformerStack::Stepper final : public StackStepper {
 public:
  Stepper(const TransformerStack& stack, std::int64_t streams, std::int64_t window)
      : stack_(stack), streams_(streams), window_(window) {
    const TransformerOptions& options = stack.options_;
    const auto make = [&](std::int64_t size) {
      return Tensor::empty({streams, size}, DType::f32, device());
    };
    for (std::int64_t i = 0; i < options.num_layers; ++i) {
      caches_.emplace_back(streams, options.attention_size(), options.num_heads, window, device());
    }
    positions_ = stack.sinusoids_.spread(window, streams, DType::f32, device());
    history_ = Tensor::empty({window, streams, options.hidden_size}, DType::f32, device());
    scale_ = Tensor::full({1}, std::sqrt(static_cast<double>(options.hidden_size)), DType::f32,
                          device());
    one_ = Tensor::full({1}, 1.0, DType::f32, device());
    x_ = make(options.hidden_size);
    normalized_ = make(options.hidden_size);
    part_ = make(options.hidden_size);
    q_ = make(options.attention_size());
    kv_ = make(2 * options.attention_size());
    attended_ = make(options.attention_size());
    inner_ = make(options.inner_size);
  }

  const Tensor& step(const Tensor& x) override {
    if (filled_ == window_) {
      restart();
    }
    history_[filled_].copy_from(x);
    add_scaled_step(positions_[filled_], scale_, x, x_);
    ++filled_;
    for (std::size_t i = 0; i < caches_.size(); ++i) {
      step_layer(stack_.layers_[i], caches_[i]);
    }
    stack_.last_norm_.step(x_, x_);
    return x_;
  }

  void restore(const std::vector<Tensor>& /*c*/, const std::vector<Tensor>& /*h*/,
               const std::vector<Tensor>& memory) override {
    check(!memory.empty() && memory[0].defined() && memory[0].shape().rank() == 3 &&
              memory[0].size(0) <= window_ &&
              (memory[0].size(1) == streams_ || memory[0].size(1) == 1) &&
              memory[0].size(2) == x_.size(1),
          "[TransformerStack] the memory has shape {}; expected (M, {}, {}) or (M, 1, {}) with M "
          "at most {}",
          memory.empty() || !memory[0].defined() ? "none" : memory[0].shape().str(), streams_,
          x_.size(1), x_.size(1), window_);
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
    layer.attention_norm.step(x_, normalized_);
    layer.query.step(normalized_, q_);
    layer.key_value.step(normalized_, kv_);
    cache.append(kv_);
    cache.attend(q_, attended_);
    layer.output.step(attended_, part_);
    add_scaled_step(x_, one_, part_, x_);
    layer.feed_forward_norm.step(x_, normalized_);
    layer.feed_forward.step(normalized_, inner_, part_);
    add_scaled_step(x_, one_, part_, x_);
  }

  const TransformerStack& stack_;
  std::int64_t streams_, window_;
  std::int64_t filled_ = 0;  // positions since the last restart, with those read again
  std::vector<AttentionCache> caches_;
  Tensor positions_, history_;    // (window, B, d): sinusoids, and inputs since the last restart
  Tensor scale_, one_;            // (1)
  Tensor x_, normalized_, part_;  // (B, d)
  Tensor q_, attended_;           // (B, n)
  Tensor kv_;                     // (B, 2n)
  Tensor inner_;                  // (B, inner)
};

std::unique_ptr<StackStepper> TransformerStack::stepper(std::int64_t streams,
                                                        std::int64_t window) const {
  return std::make_unique<Stepper>(*this, streams, window);
}

}  // namespace rondo
