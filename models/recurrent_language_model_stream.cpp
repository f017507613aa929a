// The recurrent language model one id at a time.
#include <algorithm>

#include "core/replay.h"
#include "models/recurrent_language_model.h"
#include "ops/concat.h"

namespace rondo {

class RecurrentLanguageModel::Stream final : public LanguageModelStream {
 public:
  Stream(const RecurrentLanguageModel& model, std::int64_t streams, std::int64_t window)
      : model_(model),
        streams_(streams),
        window_(window),
        stack_(model.stack_->stepper(streams, window)),
        vocabulary_(model.vocabulary_->stepper(streams)) {}

  const Tensor& prefill(const Tensor& ids) override;
  const Tensor& step(const Tensor& ids) override {
    at_start_ = false;
    return vocabulary_->scores(step_stack(vocabulary_->embed(ids)));
  }

 private:
  // The same x, and the same result, every time.
  const Tensor& step_stack(const Tensor& x) {
    if (stack_->repeats()) {
      replay_.run(x.device(), [&] { h_ = &stack_->step(x); });
    } else {
      h_ = &stack_->step(x);
    }
    return *h_;
  }

  const RecurrentLanguageModel& model_;
  std::int64_t streams_;
  std::int64_t window_;
  bool at_start_ = true;
  std::unique_ptr<StackStepper> stack_;
  std::unique_ptr<VocabularyStepper> vocabulary_;
  Replay replay_;
  const Tensor* h_ = nullptr;  // where the stack leaves its results
};

const Tensor& RecurrentLanguageModel::Stream::prefill(const Tensor& ids) {
  check(at_start_, "[LanguageModelStream] only a stream at its start can be prefilled");
  check(ids.defined() && ids.shape().rank() == 2 && ids.size(0) >= 1 &&
            (ids.size(1) == streams_ || ids.size(1) == 1),
        "[LanguageModelStream] ids have shape {}; expected (T, {}) or (T, 1) with T at least 1",
        ids.defined() ? ids.shape().str() : "none", streams_);
  const NoGradGuard no_grad;
  LanguageModelState state;
  Variable h;  // (T, B or 1, D)
  const std::int64_t segment = model_.evaluation_segment(window_);
  for (std::int64_t start = 0; start < ids.size(0); start += segment) {
    const std::int64_t length = std::min(segment, ids.size(0) - start);
    h = model_.hidden(ids.narrow(start, length), state, {{}, window_, window_});
  }
  stack_->restore(state.c, state.h, state.memory);
  Tensor last = h.value()[h.size(0) - 1];
  if (last.size(0) != streams_) {
    last = concat(std::vector<Variable>(static_cast<std::size_t>(streams_), Variable(last)), 0)
               .value();
  }
  at_start_ = false;
  return vocabulary_->scores(last);
}

std::unique_ptr<LanguageModelStream> RecurrentLanguageModel::start_stream(
    std::int64_t streams, std::int64_t window) const {
  check(streams >= 1, "[LanguageModelStream] {} streams were asked for; expected 1 or more",
        streams);
  check(window >= 1, "[LanguageModelStream] window is {}; expected 1 or more", window);
  const Variable weight = parameters().front().variable;
  check(weight.dtype() == DType::f32 && !weight.device().is_meta(),
        "[LanguageModelStream] the weights are {} on {}; stepping needs f32 weights, on the CPU or "
        "a GPU",
        name(weight.dtype()), weight.device().str());
  return std::make_unique<Stream>(*this, streams, window);
}

}  // namespace rondo
