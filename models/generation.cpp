#include "models/generation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace rondo {
namespace {

void check_options(const SamplingOptions& options) {
  check(options.temperature >= 0.0 && std::isfinite(options.temperature),
        "[sample] temperature is {}; expected 0 or more", options.temperature);
  check(options.top_k >= 0, "[sample] top_k is {}; expected 0 (all) or more", options.top_k);
  check(options.top_p > 0.0 && options.top_p <= 1.0,
        "[sample] top_p is {}; expected more than 0 and at most 1", options.top_p);
}

}  // namespace

std::int32_t sample(std::span<const float> scores, const SamplingOptions& options, double uniform) {
  check_options(options);
  check(!scores.empty() && std::all_of(scores.begin(), scores.end(),
                                       [](float score) { return std::isfinite(score); }),
        "[sample] the model's scores are not finite numbers; its weights are broken");
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  if (options.temperature == 0.0) {
    return order.front();
  }
  if (options.top_k > 0 && static_cast<std::size_t>(options.top_k) < order.size()) {
    order.resize(static_cast<std::size_t>(options.top_k));
  }
  const double best = scores[static_cast<std::size_t>(order.front())];
  std::vector<double> weights;
  weights.reserve(order.size());
  for (const std::int32_t id : order) {
    weights.push_back(
        std::exp((scores[static_cast<std::size_t>(id)] - best) / options.temperature));
  }
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double kept = 0.0;
  std::size_t count = 0;
  while (count < weights.size() && (count == 0 || kept < options.top_p * total)) {
    kept += weights[count++];
  }
  double left = uniform * kept;
  for (std::size_t i = 0; i < count; ++i) {
    left -= weights[i];
    if (left < 0.0) {
      return order[i];
    }
  }
  return order[count - 1];
}

void generate(const LanguageModel& model, std::span<const std::int32_t> prompt,
              const GenerationOptions& options, const std::function<bool(std::int32_t)>& emit) {
  check(!prompt.empty(), "[generate] the prompt is empty; give at least one id to start from");
  check(options.window >= 1, "[generate] window is {}; expected 1 or more", options.window);
  check_options(options.sampling);
  const NoGradGuard no_grad;
  const RandomStream random{options.seed, 0};
  const LanguageModelContext context{{}, options.window, options.window};
  LanguageModelState state;

  // The scores after `ids`.
  const auto advance = [&](std::span<const std::int32_t> ids) {
    const auto length = static_cast<std::int64_t>(ids.size());
    const Tensor input = Tensor::from(ids, {length, 1});
    return model.logits(input, state, context)
        .value()[length - 1]
        .reshape({model.vocabulary_size()});
  };

  Tensor scores;
  for (std::size_t start = 0; start < prompt.size();) {
    const std::size_t piece =
        std::min(prompt.size() - start, static_cast<std::size_t>(options.window));
    scores = advance(prompt.subspan(start, piece));
    start += piece;
  }
  for (std::int64_t i = 0; i < options.length; ++i) {
    const double uniform = unit_float(random.word(static_cast<std::uint64_t>(i)));
    const std::int32_t id = sample(scores.values<float>(), options.sampling, uniform);
    if (!emit(id)) {
      return;
    }
    if (i + 1 < options.length) {
      scores = advance(std::span(&id, 1));
    }
  }
}

}  // namespace rondo
