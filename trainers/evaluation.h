// How well a model predicts text, by the paper's protocol.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <numbers>

#include "data/token_text.h"
#include "models/language_model.h"

namespace rondo {

struct EvaluationOptions {
  std::int64_t window = 256;  // M: positions read at a time (a Transformer: half of them), and how
                              // far back attention sees
  std::int64_t batch_size = 1;  // streams the text is cut into; the protocol is 1
  std::int64_t max_tokens = 0;  // only the first so many predictions; 0: all
  // Called after every window with the predictions made and wanted; may throw to stop.
  std::function<void(std::int64_t done, std::int64_t total)> progress;
};

struct EvaluationResult {
  double nats_per_token = 0.0;
  std::int64_t tokens = 0;

  double bits_per_character() const { return nats_per_token / std::numbers::ln2; }
  double perplexity() const { return std::exp(nats_per_token); }
};

// Predicts every token of `text` but the first, in order, carrying state and memory from window to
// window; a position attends to the `window` positions before it. Products are f32, wherever the
// model is; on a GPU, `progress` counts what was asked for. Throws Error when the text is too
// short or has bytes that the vocabulary lacks.
EvaluationResult evaluate(const LanguageModel& model, const TokenText& text,
                          const EvaluationOptions& options);

// Throws the Error that evaluate would throw for this text, without evaluating.
void require_enough(const TokenText& text, const EvaluationOptions& options);

}  // namespace rondo
