#include <algorithm>

#include "core/parallel.h"
#include "tools/bench.h"
#include "tools/commands.h"
#include "tools/format.h"
#include "trainers/config_yaml.h"
#include "trainers/generation_benchmark.h"
#include "trainers/model_file.h"

namespace rondo {
namespace {

struct BenchGenerateOptions {
  std::string path;
  std::vector<std::string> overrides;
  std::optional<std::int64_t> vocabulary;
  std::optional<std::int64_t> window;
  std::optional<std::string> device;  // instead of run.device
  GenerationBenchmarkOptions benchmark;
  BenchOutput output;
};

struct Subject {
  Config config;  // model and run
  std::unique_ptr<LanguageModel> model;
  std::int64_t window = 0;
};

// A model with random weights: what they are does not change how long a step takes.
Subject subject_of_config(const BenchGenerateOptions& options) {
  Subject subject{load_config(options.path, options.overrides), nullptr, 0};
  Config& config = subject.config;
  config.run.device = options.device.value_or(config.run.device);
  const Device device = Device::parse(config.run.device);
  require_available(device);
  Generator generator(config.run.seed);
  Initializer init(generator, device);
  subject.model = build_language_model(
      config.model, options.vocabulary.value_or(published_vocabulary(config)), init);
  subject.window = evaluation_window(config);
  return subject;
}

Subject subject_of_checkpoint(const BenchGenerateOptions& options) {
  check(options.overrides.empty(), "--set changes a config; {} is none", options.path);
  Subject subject;
  subject.config.run.device = options.device.value_or("cpu");
  const Device device = Device::parse(subject.config.run.device);
  require_available(device);
  LoadedModel loaded = load_model(load_checkpoint(options.path), device);
  subject.config.model = loaded.description.config;
  subject.model = std::move(loaded.model);
  subject.window = loaded.description.window;
  return subject;
}

ReportRows rows_of(const Subject& subject, const GenerationBenchmarkOptions& options,
                   const GenerationMeasurement& m) {
  const auto bytes = [](std::size_t n) { return format_bytes(static_cast<double>(n)); };
  const auto [fastest, slowest] = std::minmax_element(m.step_seconds.begin(), m.step_seconds.end());
  const auto parameters = static_cast<double>(count(subject.model->parameters()));
  return {
      {"model", format_model(subject.config.model)},
      {"parameters", fmt::format("{}, {} distinct bytes", format_count(parameters),
                                 subject.model->vocabulary_size())},
      {"streams", fmt::format("{}, window {}", options.streams, options.window)},
      {"machine", machine_text(subject.config)},
      {"prompt", fmt::format("{} tokens in {:.4g} ms", options.window, 1e3 * m.prefill_seconds)},
      {"a token", fmt::format("{:.4g} ms, median of {} (fastest {:.4g}, slowest {:.4g})",
                              1e3 * m.seconds_per_token(), m.step_seconds.size(), 1e3 * *fastest,
                              1e3 * *slowest)},
      {"speed", fmt::format("{} tokens/s, all streams together",
                            format_count(m.tokens_per_second(options.streams)))},
      {"read", fmt::format("weights {}, keys and values {} per step: {:.3g} GB/s",
                           bytes(m.weights_bytes), bytes(m.cache_bytes), m.gbytes_per_second())},
      {"plain copy", fmt::format("{:.3g} GB/s, read and written", m.copy_gbytes_per_second)},
      {"tensors", fmt::format("{} at most, {} blocks from the system in the timed steps",
                              bytes(m.peak_memory_bytes), m.system_allocations)},
      {"process", fmt::format("{} at most", bytes(m.peak_rss_bytes))},
  };
}

nlohmann::ordered_json json_of(const Subject& subject, const BenchGenerateOptions& options,
                               const GenerationMeasurement& m) {
  const GenerationBenchmarkOptions& b = options.benchmark;
  nlohmann::ordered_json json{{"command", "generate"}, {"config", options.path}};
  json.update(machine_json(subject.config));
  json.update({{"parameters", count(subject.model->parameters())},
               {"vocabulary", subject.model->vocabulary_size()},
               {"streams", b.streams},
               {"window", b.window},
               {"prompt_tokens", b.window},
               {"prefill_seconds", m.prefill_seconds},
               {"warmup_steps", b.warmup_tokens},
               {"steps", b.tokens},
               {"tokens_per_second", m.tokens_per_second(b.streams)},
               {"seconds_per_token", m.seconds_per_token()},
               {"weights_bytes_per_step", m.weights_bytes},
               {"cache_bytes_per_step", m.cache_bytes},
               {"gbytes_per_second", m.gbytes_per_second()},
               {"copy_gbytes_per_second", m.copy_gbytes_per_second},
               {"peak_memory_bytes", m.peak_memory_bytes},
               {"reserved_memory_bytes", m.reserved_memory_bytes},
               {"system_allocations", m.system_allocations},
               {"peak_rss_bytes", m.peak_rss_bytes}});
  return json;
}

void bench_generate(BenchGenerateOptions options) {
  Subject subject =
      names_config(options.path) ? subject_of_config(options) : subject_of_checkpoint(options);
  subject.config.training.precision = Precision::f32;  // what steps compute in
  set_num_threads(static_cast<int>(options.output.threads.value_or(subject.config.run.threads)));
  options.benchmark.window = options.window.value_or(subject.window);
  const GenerationMeasurement measured =
      measure_generation(*subject.model, subject.config.model, options.benchmark);
  report_measurement(options.output, "Rondo generation benchmark",
                     rows_of(subject, options.benchmark, measured),
                     json_of(subject, options, measured));
}

}  // namespace

void add_bench_generate(CLI::App& bench) {
  auto options = std::make_shared<BenchGenerateOptions>();
  CLI::App* command =
      bench.add_subcommand("generate", "Time the steps of writing text, one token at a time");
  command
      ->add_option("path", options->path,
                   "YAML config (weights are random), run folder, checkpoint or model.safetensors")
      ->required();
  add_config_options(*command, options->overrides, options->vocabulary);
  command->add_option("--streams", options->benchmark.streams, "Texts written side by side")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{4096}))
      ->capture_default_str();
  command->add_option("--tokens", options->benchmark.tokens, "Tokens of each text to time")
      ->check(whole_number(1))
      ->capture_default_str();
  command
      ->add_option("--window", options->window,
                   "Positions that attention remembers, and length of the prompt; as evaluated if "
                   "not given")
      ->check(whole_number(1));
  command->add_option("--device", options->device,
                      "cpu, cuda or cuda:N; run.device of a config, or cpu, if not given");
  add_output_options(*command, options->output);
  command->footer(R"(Examples:
  rondo bench generate configs/quickstart.yaml
  rondo bench generate configs/enwik8_42m.yaml --streams 8 --json generate.json
  rondo bench generate configs/enwik8_42m.yaml --device cuda

A prompt of one window is read first, so that every timed step attends to a full one. The GB/s are
of what a step must read, weights once for all streams; they can exceed the rate of a plain copy of
256 MiB where a cache holds the model. On a GPU, a step ends when its scores are on the CPU.)");
  command->callback([options] { bench_generate(*options); });
}

}  // namespace rondo
