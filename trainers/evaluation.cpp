#include "trainers/evaluation.h"

#include <algorithm>

#include "data/segment_feed.h"
#include "ops/cross_entropy.h"
#include "ops/elementwise.h"

namespace rondo {
namespace {

StreamBatcher batches(std::span<const std::uint8_t> text, const ByteVocabulary& vocabulary,
                      const EvaluationOptions& options) {
  if (options.max_tokens > 0) {
    text = text.first(std::min(text.size(), static_cast<std::size_t>(options.max_tokens) + 1));
  }
  StreamOptions streams;
  streams.batch_size = options.batch_size;
  streams.unroll = options.window;
  streams.allow_short = true;
  return StreamBatcher(text, vocabulary, streams);
}

}  // namespace

void require_enough(std::span<const std::uint8_t> text, const ByteVocabulary& vocabulary,
                    const EvaluationOptions& options) {
  batches(text, vocabulary, options);
}

namespace {

// Adds up what windows lost. On a GPU the sum stays there until it is read, so that one window
// follows the other without a pause.
class LossSum {
 public:
  explicit LossSum(Device device) : sum_(Tensor::zeros({1}, DType::f64, device)) {}

  void add(const Variable& logits, const Tensor& targets) {
    if (logits.device().is_cuda()) {
      const Variable mean(cross_entropy(logits, targets).value().to(DType::f64));
      sum_.add_(scale(mean, static_cast<double>(targets.numel())).value());
    } else {
      sum_.values<double>()[0] += cross_entropy_sum(logits.value(), targets);
    }
  }
  double nats() const { return sum_.item(); }

 private:
  Tensor sum_;
};

}  // namespace

EvaluationResult evaluate(const LanguageModel& model, std::span<const std::uint8_t> text,
                          const ByteVocabulary& vocabulary, const EvaluationOptions& options) {
  const StreamBatcher batcher = batches(text, vocabulary, options);
  const Device device = model.parameters().front().variable.device();
  const auto feed = feed_segments(batcher, device);
  const NoGradGuard no_grad;
  const LanguageModelContext context{{}, options.window, options.window};
  LanguageModelState state;
  EvaluationResult result;
  LossSum sum(device);
  for (std::int64_t i = 0; i < batcher.segments(); ++i) {
    const Segment segment = feed->segment(i);
    sum.add(model.logits(segment.inputs, state, context), segment.targets);
    result.tokens += segment.targets.numel();
    if (options.progress) {
      options.progress(result.tokens, batcher.positions() * options.batch_size);
    }
  }
  result.nats_per_token = sum.nats() / static_cast<double>(result.tokens);
  return result;
}

}  // namespace rondo
