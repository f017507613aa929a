// The recurrent language model one id at a time.
#include <algorithm>

#include "models/recurrent_language_model.h"
#include "ops/stepping.h"

namespace rondo {

class RecurrentLanguageModel::Stream final : public LanguageModelStream {
 public:
  Stream(const RecurrentLanguageModel& model, std::int64_t streams, std::int64_t window)
      : model_(model),
        window_(window),
        stack_(model.stack_->stepper(streams, window)),
        x_(Tensor::empty({streams, model.embedding_.size(1)}, DType::f32, device())),
        scores_(Tensor::empty({streams, model.vocabulary_size()}, DType::f32, device())),
        cpu_scores_(device().is_cpu() ? scores_ : Tensor::empty(scores_.shape())) {}

  const Tensor& prefill(const Tensor& ids) override;
  const Tensor& step(const Tensor& ids) override {
    embedding_step(ids, model_.embedding_.value(), x_);
    at_start_ = false;
    linear_step(stack_->step(x_), model_.output_weight_.value(), model_.output_bias_.value(),
                scores_);
    return on_cpu();
  }

 private:
  Device device() const { return model_.embedding_.device(); }
  // The scores where the next ids are chosen. With a GPU this is the only time in a step that the
  // CPU waits for it.
  const Tensor& on_cpu() {
    if (!device().is_cpu()) {
      cpu_scores_.copy_from(scores_);
    }
    return cpu_scores_;
  }

  const RecurrentLanguageModel& model_;
  std::int64_t window_;
  bool at_start_ = true;
  std::unique_ptr<StackStepper> stack_;
  Tensor x_;           // (B, d)
  Tensor scores_;      // (B, V)
  Tensor cpu_scores_;  // (B, V): scores_ itself with weights on the CPU
};

const Tensor& RecurrentLanguageModel::Stream::prefill(const Tensor& ids) {
  const std::int64_t streams = scores_.size(0);
  check(at_start_, "[LanguageModelStream] only a stream at its start can be prefilled");
  check(ids.defined() && ids.shape().rank() == 2 && ids.size(0) >= 1 &&
            (ids.size(1) == streams || ids.size(1) == 1),
        "[LanguageModelStream] ids have shape {}; expected (T, {}) or (T, 1) with T at least 1",
        ids.defined() ? ids.shape().str() : "none", streams);
  const NoGradGuard no_grad;
  LanguageModelState state;
  Variable scores;  // (T, B or 1, V)
  for (std::int64_t start = 0; start < ids.size(0); start += window_) {
    const std::int64_t length = std::min(window_, ids.size(0) - start);
    scores = model_.logits(ids.narrow(start, length), state, {{}, window_, window_});
  }
  stack_->restore(state.c, state.h, state.memory);
  const Tensor last = scores.value()[scores.size(0) - 1];
  for (std::int64_t s = 0; s < streams; ++s) {
    scores_[s].copy_from(last[last.size(0) == 1 ? 0 : s]);
  }
  at_start_ = false;
  return on_cpu();
}

std::unique_ptr<LanguageModelStream> RecurrentLanguageModel::start_stream(
    std::int64_t streams, std::int64_t window) const {
  check(streams >= 1, "[LanguageModelStream] {} streams were asked for; expected 1 or more",
        streams);
  check(window >= 1, "[LanguageModelStream] window is {}; expected 1 or more", window);
  check(embedding_.dtype() == DType::f32 && !embedding_.device().is_meta(),
        "[LanguageModelStream] the weights are {} on {}; stepping needs f32 weights, on the CPU or "
        "a GPU",
        name(embedding_.dtype()), embedding_.device().str());
  return std::make_unique<Stream>(*this, streams, window);
}

}  // namespace rondo
