#include "models/generation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "tests/support/tiny_model.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

constexpr std::int64_t kVocabulary = 7;

using Ids = std::vector<std::int32_t>;

std::unique_ptr<LanguageModel> model_of(const ModelConfig& config, std::uint64_t seed = 1) {
  return scrambled_model(config, kVocabulary, DType::f32, seed, test_device());
}

Ids generated(const LanguageModel& model, const Ids& prompt, const GenerationOptions& options) {
  Ids ids;
  generate(model, prompt, options, [&](std::int32_t id) {
    ids.push_back(id);
    return true;
  });
  return ids;
}

// The likeliest id after `text`, read from its start at once.
std::int32_t likeliest_after(const LanguageModel& model, const Ids& text, std::int64_t window) {
  const auto length = static_cast<std::int64_t>(text.size());
  LanguageModelState state;
  const Tensor scores =
      on_cpu(model.logits(Tensor::from(text, {length, 1}), state, {{}, 0, window}).value());
  const auto last = scores.values<float>().last(kVocabulary);
  return static_cast<std::int32_t>(std::max_element(last.begin(), last.end()) - last.begin());
}

// How often each id is drawn when `uniform` runs evenly over [0, 1).
std::map<std::int32_t, int> shares(const std::vector<float>& scores, const SamplingOptions& options,
                                   int draws) {
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < draws; ++i) {
    ++counts[sample(scores, options, (i + 0.5) / draws)];
  }
  return counts;
}

// Scores of ids with these probabilities.
std::vector<float> scores_of(const std::vector<double>& probabilities) {
  std::vector<float> scores;
  for (const double p : probabilities) {
    scores.push_back(static_cast<float>(std::log(p) + 3.0));
  }
  return scores;
}

const std::vector<double> kProbabilities = {0.1, 0.4, 0.05, 0.25, 0.2};

using Shares = std::map<std::int32_t, int>;

}  // namespace

TEST_CASE("sample draws each id with its probability", "[models][generation][cpu]") {
  const auto scores = scores_of(kProbabilities);
  REQUIRE(shares(scores, {}, 100) == Shares{{0, 10}, {1, 40}, {2, 5}, {3, 25}, {4, 20}});
  // At temperature 1/2 probabilities are squared: 0.16, 0.0625, 0.04, 0.01, 0.0025 of 0.275.
  const Shares cold = shares(scores, {0.5, 0, 1.0}, 1100);
  REQUIRE(cold == Shares{{1, 640}, {3, 250}, {4, 160}, {0, 40}, {2, 10}});
}

TEST_CASE("top_k keeps the k likeliest", "[models][generation][cpu]") {
  const auto scores = scores_of(kProbabilities);
  REQUIRE(shares(scores, {1.0, 2, 1.0}, 65) == Shares{{1, 40}, {3, 25}});
  REQUIRE(shares(scores, {1.0, 5, 1.0}, 100) == shares(scores, {}, 100));
  REQUIRE(shares(scores, {1.0, 99, 1.0}, 100) == shares(scores, {}, 100));
  // Ties go to the lower id.
  REQUIRE(shares({1, 2, 2, 2}, {1.0, 2, 1.0}, 10) == Shares{{1, 5}, {2, 5}});
}

TEST_CASE("top_p keeps the likeliest that have p together", "[models][generation][cpu]") {
  const auto scores = scores_of(kProbabilities);
  REQUIRE(shares(scores, {1.0, 0, 0.39}, 50) == Shares{{1, 50}});
  REQUIRE(shares(scores, {1.0, 0, 1e-9}, 50) == Shares{{1, 50}});
  REQUIRE(shares(scores, {1.0, 0, 0.41}, 65) == Shares{{1, 40}, {3, 25}});
  REQUIRE(shares(scores, {1.0, 0, 0.84}, 85) == Shares{{1, 40}, {3, 25}, {4, 20}});
  // Of what top_k has left: 0.4 and 0.25 of 0.65.
  REQUIRE(shares(scores, {1.0, 2, 0.6}, 50) == Shares{{1, 50}});
}

TEST_CASE("ids of a large vocabulary are drawn as from a sorted list",
          "[models][generation][cpu]") {
  // Scores in steps of a quarter, so that many are equal.
  Generator generator(7);
  Tensor noise = Tensor::empty({3000}, DType::f32);
  fill_uniform(noise, -12.0, 12.0, generator);
  std::vector<float> scores;
  for (const float value : noise.values<float>()) {
    scores.push_back(std::round(value) / 4);
  }
  Ids sorted(scores.size());
  std::iota(sorted.begin(), sorted.end(), 0);
  std::stable_sort(sorted.begin(), sorted.end(), [&](std::int32_t a, std::int32_t b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  for (const SamplingOptions& options :
       {SamplingOptions{1.0, 0, 1.0}, SamplingOptions{0.5, 0, 0.9}, SamplingOptions{2.0, 100, 1.0},
        SamplingOptions{1.0, 1000, 0.5}, SamplingOptions{0.0, 0, 1.0}}) {
    // Probabilities, up to a factor, of the ids that the options leave, in their order.
    std::vector<double> weights;
    double total = 0.0;
    for (std::size_t i = 0; i < sorted.size(); ++i) {
      const bool left = options.temperature > 0.0
                            ? options.top_k == 0 || i < static_cast<std::size_t>(options.top_k)
                            : i == 0;
      const double score = scores[static_cast<std::size_t>(sorted[i])];
      weights.push_back(!left                        ? 0.0
                        : options.temperature == 0.0 ? 1.0
                                                     : std::exp(score / options.temperature));
      total += weights.back();
    }
    double before = 0.0;
    std::size_t kept = 0;
    while (before < options.top_p * total * (1 - 1e-12) && kept < weights.size()) {
      before += weights[kept++];
    }
    Sampler sampler(options);
    double passed = 0.0;
    for (std::size_t i = 0; i < kept; ++i) {
      // In the middle of the id's share: sums in another order do not matter there.
      const double middle = (passed + weights[i] / 2) / before;
      passed += weights[i];
      if (weights[i] > 0.0 && i % 7 == 0) {
        INFO("place " << i << ", top_k " << options.top_k << ", top_p " << options.top_p);
        REQUIRE(sampler(scores, middle) == sorted[i]);
      }
    }
  }
}

TEST_CASE("temperature 0 and top_k 1 take the likeliest", "[models][generation][cpu]") {
  const auto scores = scores_of(kProbabilities);
  REQUIRE(shares(scores, {0.0, 0, 1.0}, 50) == Shares{{1, 50}});
  REQUIRE(shares(scores, {1.0, 1, 1.0}, 50) == Shares{{1, 50}});
  // Scores far apart neither overflow nor vanish.
  REQUIRE(shares({-3e38F, 3e38F, 0}, {1e-30, 0, 1.0}, 50) == Shares{{1, 50}});
}

TEST_CASE("sample explains what it cannot use", "[models][generation][cpu]") {
  const std::vector<float> scores = {1, 2};
  const auto error_with = [&](const SamplingOptions& options) {
    return error_of([&] { sample(scores, options, 0.5); });
  };
  REQUIRE(error_with({-1.0, 0, 1.0}) == "[sample] temperature is -1; expected 0 or more");
  REQUIRE_THAT(error_with({std::nan(""), 0, 1.0}), ContainsSubstring("temperature is nan"));
  REQUIRE_THAT(error_with({1.0, -1, 1.0}), ContainsSubstring("top_k is -1"));
  REQUIRE_THAT(error_with({1.0, 0, 0.0}), ContainsSubstring("top_p is 0"));
  REQUIRE_THAT(error_with({1.0, 0, 1.1}), ContainsSubstring("top_p is 1.1"));
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    REQUIRE_THAT(error_of([&] {
                   sample(std::vector<float>{1, bad}, {}, 0.5);
                 }),
                 ContainsSubstring("not finite"));
  }
  REQUIRE_THAT(error_of([] { sample({}, {}, 0.5); }), ContainsSubstring("not finite"));
}

TEST_CASE("the same seed generates the same text", "[models][generation]") {
  const auto model = model_of(tiny_config());
  GenerationOptions options;
  options.length = 60;
  options.window = 8;
  const Ids text = generated(*model, {1, 2}, options);
  REQUIRE(text.size() == 60);
  REQUIRE(generated(*model, {1, 2}, options) == text);
  options.seed = 2;
  REQUIRE(generated(*model, {1, 2}, options) != text);
  options.seed = 1;
  options.length = 20;  // the beginning of the longer text
  REQUIRE(generated(*model, {1, 2}, options) == Ids(text.begin(), text.begin() + 20));
  for_thread_counts([&] {
    REQUIRE(generated(*model, {1, 2}, options) == Ids(text.begin(), text.begin() + 20));
  });
}

TEST_CASE("generation step by step sees what reading it all sees", "[models][generation]") {
  const ModelConfig config = tiny_config();
  GenerationOptions options;
  options.sampling.temperature = 0.0;
  options.length = 24;
  for (const std::uint64_t seed : {1, 2, 3}) {
    const auto model = model_of(config, seed);
    // A window that holds everything, and one that prompt and text outgrow.
    for (const std::int64_t window : {64, 5}) {
      INFO("seed " << seed << ", window " << window);
      options.window = window;
      Ids text = {3, 1, 4, 1, 5, 2, 6, 5, 3, 5, 0};
      for (const std::int32_t id : generated(*model, text, options)) {
        REQUIRE(id == likeliest_after(*model, text, window));
        text.push_back(id);
      }
      options.sampling = {1.0, 1, 1.0};
      const Ids prompt(text.begin(), text.begin() + 11);
      REQUIRE(generated(*model, prompt, options) == Ids(text.begin() + 11, text.end()));
      options.sampling = {0.0, 0, 1.0};
    }
  }
}

TEST_CASE("samples are drawn together, each for itself", "[models][generation]") {
  const auto model = model_of(tiny_config());
  const Ids prompt = {1, 2, 3, 4, 5, 6, 0};
  GenerationOptions options;
  options.length = 40;
  options.window = 5;
  const auto samples_of = [&](std::int64_t samples) {
    std::vector<Ids> texts(static_cast<std::size_t>(samples));
    generate_samples(*model, prompt, samples, options, [&](std::span<const std::int32_t> ids) {
      REQUIRE(ids.size() == texts.size());
      for (std::size_t i = 0; i < ids.size(); ++i) {
        texts[i].push_back(ids[i]);
      }
      return true;
    });
    return texts;
  };
  const std::vector<Ids> five = samples_of(5);
  REQUIRE(five[0] == generated(*model, prompt, options));
  for (std::size_t i = 0; i < five.size(); ++i) {
    REQUIRE(five[i].size() == 40);
    for (std::size_t j = 0; j < i; ++j) {
      REQUIRE(five[i] != five[j]);
    }
  }
  const std::vector<Ids> two = samples_of(2);
  REQUIRE(two == std::vector<Ids>(five.begin(), five.begin() + 2));
  REQUIRE_THAT(error_of([&] { samples_of(0); }), ContainsSubstring("0 samples"));

  int emitted = 0;
  generate_samples(*model, prompt, 3, options,
                   [&](std::span<const std::int32_t>) { return ++emitted < 4; });
  REQUIRE(emitted == 4);
}

TEST_CASE("generation stops when it is told to", "[models][generation]") {
  const auto model = model_of(tiny_config());
  GenerationOptions options;
  options.length = 10;
  int emitted = 0;
  generate(*model, Ids{1}, options, [&](std::int32_t) { return ++emitted < 4; });
  REQUIRE(emitted == 4);
  options.length = 0;
  REQUIRE(generated(*model, {1}, options).empty());
}

TEST_CASE("generation explains what it cannot use", "[models][generation]") {
  const auto model = model_of(tiny_config());
  GenerationOptions options;
  const auto error_with = [&](const Ids& prompt) {
    return error_of([&] { generated(*model, prompt, options); });
  };
  REQUIRE_THAT(error_with({}), ContainsSubstring("the prompt is empty"));
  REQUIRE_THAT(error_with({7}), ContainsSubstring("7"));  // ids end at 6
  REQUIRE_THAT(error_with({-1}), ContainsSubstring("-1"));
  options.window = 0;
  REQUIRE_THAT(error_with({1}), ContainsSubstring("window is 0"));
  options.window = 8;
  options.sampling.top_p = 2.0;
  REQUIRE_THAT(error_with({1}), ContainsSubstring("top_p is 2"));
  options.sampling.top_p = 1.0;
  for (NamedVariable parameter : model->parameters()) {
    if (parameter.name == "output.bias") {
      parameter.variable.value().fill(std::nan(""));
    }
  }
  REQUIRE_THAT(error_with({1}), ContainsSubstring("weights are broken"));
}
