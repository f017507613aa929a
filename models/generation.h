// Text from a language model, one id at a time.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "models/language_model.h"

namespace rondo {

struct SamplingOptions {
  double temperature = 1.0;  // scores are divided by it; 0: always the likeliest
  std::int64_t top_k = 0;    // only the k likeliest; 0: all
  double top_p = 1.0;        // only the likeliest that together have this probability
};

// Draws one id by the scores (V) of a model. `uniform` is a number in [0, 1). The likeliest ids
// come first, ties by id, so the same input gives the same id everywhere. Throws Error for options
// out of range and for scores that are not finite.
std::int32_t sample(std::span<const float> scores, const SamplingOptions& options, double uniform);

// `sample` again and again, with buffers that are kept. Only as many ids are put in order as a draw
// needs, so that a vocabulary of hundreds of thousands of words costs little.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);
  std::int32_t operator()(std::span<const float> scores, double uniform);

 private:
  // Puts the `count` likeliest, at least, at their places in order_.
  void rank(std::span<const float> scores, std::size_t count);

  SamplingOptions options_;
  std::vector<std::int32_t> order_;  // ids; the first ranked_ are the likeliest, in order
  std::size_t ranked_ = 0;
};

struct GenerationOptions {
  SamplingOptions sampling;
  std::int64_t length = 200;  // ids to generate
  std::int64_t window = 256;  // positions that attention remembers
  std::uint64_t seed = 1;
};

// Feeds `prompt` (at least one id) to the model from a fresh state, then draws `length` ids, each
// handed to `emit` as soon as it is known; stops early when `emit` returns false.
void generate(const LanguageModel& model, std::span<const std::int32_t> prompt,
              const GenerationOptions& options, const std::function<bool(std::int32_t)>& emit);

// `samples` texts after one prompt, all a step at a time: `emit` gets the next id of every text.
// Text i depends on the seed and i alone, and text 0 is that of `generate`.
void generate_samples(const LanguageModel& model, std::span<const std::int32_t> prompt,
                      std::int64_t samples, const GenerationOptions& options,
                      const std::function<bool(std::span<const std::int32_t>)>& emit);

}  // namespace rondo
