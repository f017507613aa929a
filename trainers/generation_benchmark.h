// Steps of generation, timed, beside how fast their device copies memory.
#pragma once

#include <cstddef>
#include <vector>

#include "models/config.h"
#include "models/language_model.h"

namespace rondo {

struct GenerationBenchmarkOptions {
  std::int64_t streams = 1;
  std::int64_t window = 256;  // positions that attention remembers, and the length of the prompt
  std::int64_t warmup_tokens = 20;
  std::int64_t tokens = 200;  // timed, of every stream
};

struct GenerationMeasurement {
  double prefill_seconds = 0.0;
  std::vector<double> step_seconds;  // one per token, of all streams together
  // What a step must read: all weights but the embedding, of which it takes a row per stream, and
  // the keys and values of a full window.
  std::size_t weights_bytes = 0;
  std::size_t cache_bytes = 0;
  double copy_gbytes_per_second = 0.0;  // median, after the steps
  std::size_t peak_memory_bytes = 0;  // of the device's tensors, over the timed steps, with weights
  std::size_t reserved_memory_bytes = 0;
  std::size_t system_allocations = 0;  // in the timed steps
  std::size_t peak_rss_bytes = 0;

  double seconds_per_token() const;  // median of a step
  double tokens_per_second(std::int64_t streams) const {
    return static_cast<double>(streams) / seconds_per_token();
  }
  double gbytes_per_second() const {
    return 1e-9 * static_cast<double>(weights_bytes + cache_bytes) / seconds_per_token();
  }
};

// Reads a prompt of one window, so that every timed step sees a full one, then takes steps with the
// likeliest id of each stream, all on the device of the model. `config` is that of `model`. Throws
// Error for options out of range.
GenerationMeasurement measure_generation(const LanguageModel& model, const ModelConfig& config,
                                         const GenerationBenchmarkOptions& options);

}  // namespace rondo
