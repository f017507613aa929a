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

Sampler::Sampler(const SamplingOptions& options) : options_(options) { check_options(options); }

void Sampler::rank(std::span<const float> scores, std::size_t count) {
  if (count <= ranked_) {
    return;
  }
  // Twice as many each time: all of them are in order after about one sort's work, and a draw
  // mostly needs a few of a large vocabulary.
  constexpr std::size_t kFewest = 64;
  const std::size_t end = std::min(std::max({count, 2 * ranked_, kFewest}), order_.size());
  const auto before = [&](std::int32_t a, std::int32_t b) {
    const float score_a = scores[static_cast<std::size_t>(a)];
    const float score_b = scores[static_cast<std::size_t>(b)];
    return score_a != score_b ? score_a > score_b : a < b;
  };
  const auto at = [&](std::size_t place) {
    return order_.begin() + static_cast<std::ptrdiff_t>(place);
  };
  if (end < order_.size()) {
    std::nth_element(at(ranked_), at(end), order_.end(), before);
  }
  std::sort(at(ranked_), at(end), before);
  ranked_ = end;
}

std::int32_t Sampler::operator()(std::span<const float> scores, double uniform) {
  check(!scores.empty() && std::all_of(scores.begin(), scores.end(),
                                       [](float score) { return std::isfinite(score); }),
        "[sample] the model's scores are not finite numbers; its weights are broken");
  // The first of the likeliest.
  const auto likeliest = std::max_element(scores.begin(), scores.end());
  if (options_.temperature == 0.0) {
    return static_cast<std::int32_t>(likeliest - scores.begin());
  }
  order_.resize(scores.size());
  std::iota(order_.begin(), order_.end(), 0);
  ranked_ = 0;
  const double best = *likeliest;
  const auto weight = [&](std::int32_t id) {
    return std::exp((scores[static_cast<std::size_t>(id)] - best) / options_.temperature);
  };
  if (options_.top_k > 0 && static_cast<std::size_t>(options_.top_k) < order_.size()) {
    const auto most = static_cast<std::size_t>(options_.top_k);
    rank(scores, most);
    order_.resize(most);
    ranked_ = most;
  }
  double kept = 0.0;
  for (const std::int32_t id : order_) {
    kept += weight(id);
  }
  std::size_t count = order_.size();
  if (options_.top_p < 1.0) {
    const double enough = options_.top_p * kept;
    kept = 0.0;
    count = 0;
    while (count < order_.size() && (count == 0 || kept < enough)) {
      rank(scores, count + 1);
      kept += weight(order_[count++]);
    }
  }
  double left = uniform * kept;
  for (std::size_t i = 0; i < count; ++i) {
    rank(scores, i + 1);
    left -= weight(order_[i]);
    if (left < 0.0) {
      return order_[i];
    }
  }
  return order_[count - 1];
}

std::int32_t sample(std::span<const float> scores, const SamplingOptions& options, double uniform) {
  return Sampler(options)(scores, uniform);
}

void generate(const LanguageModel& model, std::span<const std::int32_t> prompt,
              const GenerationOptions& options, const std::function<bool(std::int32_t)>& emit) {
  generate_samples(model, prompt, 1, options,
                   [&](std::span<const std::int32_t> ids) { return emit(ids.front()); });
}

void generate_samples(const LanguageModel& model, std::span<const std::int32_t> prompt,
                      std::int64_t samples, const GenerationOptions& options,
                      const std::function<bool(std::span<const std::int32_t>)>& emit) {
  check(!prompt.empty(), "[generate] the prompt is empty; give at least one id to start from");
  check(options.window >= 1, "[generate] window is {}; expected 1 or more", options.window);
  check(samples >= 1, "[generate] {} samples were asked for; expected 1 or more", samples);
  Sampler sampler(options.sampling);
  const auto stream = model.start_stream(samples, options.window);
  const Tensor* scores =
      &stream->prefill(Tensor::from(prompt, {static_cast<std::int64_t>(prompt.size()), 1}));
  Tensor ids = Tensor::empty({samples}, DType::i32);
  const auto vocabulary = static_cast<std::size_t>(model.vocabulary_size());
  for (std::int64_t i = 0; i < options.length; ++i) {
    const std::span<const float> all = scores->values<float>();
    for (std::int64_t s = 0; s < samples; ++s) {
      const RandomStream random{options.seed, static_cast<std::uint64_t>(s)};
      const double uniform = unit_float(random.word(static_cast<std::uint64_t>(i)));
      ids.data<std::int32_t>()[s] =
          sampler(all.subspan(static_cast<std::size_t>(s) * vocabulary, vocabulary), uniform);
    }
    if (!emit(ids.values<std::int32_t>())) {
      return;
    }
    if (i + 1 < options.length) {
      scores = &stream->step(ids);
    }
  }
}

}  // namespace rondo
