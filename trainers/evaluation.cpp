#include "trainers/evaluation.h"

#include <algorithm>

#include "data/segment_feed.h"

namespace rondo {
namespace {

StreamBatcher batches(const TokenText& text, const EvaluationOptions& options,
                      std::int64_t segment) {
  StreamOptions streams;
  streams.batch_size = options.batch_size;
  streams.unroll = segment;
  streams.allow_short = true;
  const bool all = options.max_tokens <= 0 || options.max_tokens >= text.size();
  return {all ? text : text.first(options.max_tokens + 1), streams};
}

}  // namespace

void require_enough(const TokenText& text, const EvaluationOptions& options) {
  batches(text, options, options.window);
}

EvaluationResult evaluate(const LanguageModel& model, const TokenText& text,
                          const EvaluationOptions& options) {
  const StreamBatcher batcher = batches(text, options, model.evaluation_segment(options.window));
  const Device device = model.parameters().front().variable.device();
  const auto feed = feed_segments(batcher, model.reads_ids_on_cpu() ? Device::cpu() : device);
  const NoGradGuard no_grad;
  const LanguageModelContext context{{}, options.window, options.window};
  LanguageModelState state;
  EvaluationResult result;
  // Summed where the model is: a GPU need not be waited for after every window.
  Tensor nats = Tensor::zeros({1}, DType::f64, device);
  for (std::int64_t i = 0; i < batcher.segments(); ++i) {
    const Segment segment = feed->segment(i);
    nats.add_(model.loss_sum(segment.inputs, segment.targets, state, context));
    result.tokens += segment.targets.numel();
    if (options.progress) {
      options.progress(result.tokens, batcher.positions() * options.batch_size);
    }
  }
  result.nats_per_token = nats.item() / static_cast<double>(result.tokens);
  return result;
}

}  // namespace rondo
