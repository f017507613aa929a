// The figure in which results are told.
#pragma once

#include <string>
#include <string_view>

#include "data/vocabulary.h"

namespace rondo {

// Bits per byte, as the byte corpora's results are published, or the exponential of the nats per
// word, as those of the word corpora.
enum class Metric : std::uint8_t { bits_per_character, perplexity };

Metric metric_of(Unit unit);

// The figure for a mean negative log likelihood.
double in_metric(Metric metric, double nats_per_token);
// "bpc" or "ppl": in metrics.jsonl and TensorBoard.
std::string_view key(Metric metric);
// "2.431 BPC" or "23.41 ppl", with `digits` more digits than these have.
std::string format_result(Metric metric, double nats_per_token, int digits = 0);

}  // namespace rondo
