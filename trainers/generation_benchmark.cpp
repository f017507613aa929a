#include "trainers/generation_benchmark.h"

#include <algorithm>
#include <chrono>

#include "core/allocator.h"
#include "trainers/machine_limits.h"

namespace rondo {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point from) {
  return std::chrono::duration<double>(Clock::now() - from).count();
}

void choose_likeliest(const Tensor& scores, Tensor& ids) {
  const std::int64_t vocabulary = scores.size(1);
  for (std::int64_t s = 0; s < scores.size(0); ++s) {
    const float* row = scores.data<float>() + s * vocabulary;
    ids.data<std::int32_t>()[s] =
        static_cast<std::int32_t>(std::max_element(row, row + vocabulary) - row);
  }
}

// Of an embedding that has no part in the scores only the rows of the streams' tokens are read.
std::size_t weights_read(const LanguageModel& model, const ModelConfig& config,
                         std::int64_t streams) {
  const std::int64_t all = count(model.parameters());
  const bool scores_read_it = config.softmax == SoftmaxType::adaptive || config.tie_weights;
  const std::int64_t unread =
      scores_read_it ? 0 : (model.vocabulary_size() - streams) * config.hidden_size;
  return static_cast<std::size_t>(all - unread) * sizeof(float);
}

std::size_t cache_read(const ModelConfig& config, const GenerationBenchmarkOptions& options) {
  const bool transformer =
      config.type == ModelType::transformer || config.type == ModelType::transformer_xl;
  std::int64_t attending = transformer ? config.num_layers : 0;
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    attending += layer_attends(config, layer) ? 1 : 0;
  }
  std::int64_t size = config.hidden_size;  // of keys, and of values, over all heads
  if (config.type == ModelType::srupp) {
    size = config.projection_size;
  } else if (transformer && config.head_size > 0) {
    size = config.num_heads * config.head_size;
  }
  // A plain Transformer keeps the window itself, the others one position more.
  const std::int64_t positions = options.window + (config.type == ModelType::transformer ? 0 : 1);
  // Beside keys and values Transformer-XL reads the row of every distance, once for all streams.
  const std::int64_t distances = config.type == ModelType::transformer_xl ? 1 : 0;
  return static_cast<std::size_t>(attending * (2 * options.streams + distances) * positions *
                                  size) *
         sizeof(float);
}

Device device_of(const LanguageModel& model) {
  return model.parameters().front().variable.device();
}

}  // namespace

double GenerationMeasurement::seconds_per_token() const { return median(step_seconds); }

GenerationMeasurement measure_generation(const LanguageModel& model, const ModelConfig& config,
                                         const GenerationBenchmarkOptions& options) {
  check(options.tokens >= 1 && options.warmup_tokens >= 0,
        "[measure_generation] {} tokens after {} of warm-up; expected at least 1 and 0",
        options.tokens, options.warmup_tokens);
  GenerationMeasurement measured;
  const Device device = device_of(model);
  CachingAllocator& memory = allocator(device);
  const auto stream = model.start_stream(options.streams, options.window);
  Tensor prompt = Tensor::empty({options.window, 1}, DType::i32);
  for (std::int64_t t = 0; t < options.window; ++t) {
    prompt.data<std::int32_t>()[t] = static_cast<std::int32_t>(t % model.vocabulary_size());
  }
  if (device.is_cuda()) {  // loads kernels, and chooses algorithms
    model.start_stream(options.streams, options.window)->prefill(prompt);
  }
  const auto prefill_started = Clock::now();
  const Tensor* scores = &stream->prefill(prompt);
  measured.prefill_seconds = seconds_since(prefill_started);
  memory.trim();

  Tensor ids = Tensor::empty({options.streams}, DType::i32);
  MemoryStats before;
  for (std::int64_t i = 0; i < options.warmup_tokens + options.tokens; ++i) {
    if (i == options.warmup_tokens) {
      memory.reset_peak();
      before = memory.stats();
    }
    const auto started = Clock::now();
    choose_likeliest(*scores, ids);
    scores = &stream->step(ids);
    if (i >= options.warmup_tokens) {
      measured.step_seconds.push_back(seconds_since(started));
    }
  }
  const MemoryStats after = memory.stats();
  measured.peak_memory_bytes = after.peak_bytes;
  measured.reserved_memory_bytes = after.reserved_bytes;
  measured.system_allocations = after.system_allocations - before.system_allocations;
  measured.peak_rss_bytes = peak_rss_bytes();
  measured.weights_bytes = weights_read(model, config, options.streams);
  measured.cache_bytes = cache_read(config, options);
  // Last: what the copies take is no part of the steps.
  measured.copy_gbytes_per_second = median(measure_copies(device, 11));
  return measured;
}

}  // namespace rondo
