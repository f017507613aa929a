#include <algorithm>
#include <iostream>

#include "tools/bench.h"
#include "tools/commands.h"
#include "tools/format.h"
#include "tools/progress.h"
#include "trainers/config_yaml.h"
#include "trainers/training_benchmark.h"

namespace rondo {
namespace {

struct BenchTrainOptions {
  std::string config;
  std::vector<std::string> overrides;
  TrainingBenchmarkOptions benchmark;
  BenchOutput output;
};

std::string megabytes(std::size_t bytes) { return format_bytes(static_cast<double>(bytes)); }

std::string memory_text(const TrainingMemory& m) {
  return fmt::format(
      "{} at most: weights {}, gradients {}, moments {}, carried state {}, activations {}",
      megabytes(m.peak), megabytes(m.weights), megabytes(m.gradients), megabytes(m.optimizer),
      megabytes(m.carried), megabytes(m.activations()));
}

ReportRows rows_of(const Config& config, const TrainingMeasurement& m) {
  const TrainingConfig& t = config.training;
  const auto [fastest, slowest] = std::minmax_element(m.step_seconds.begin(), m.step_seconds.end());
  return {
      {"model", format_model(config.model)},
      {"parameters", fmt::format("{}, {} distinct bytes",
                                 format_count(static_cast<double>(m.parameters)), m.vocabulary)},
      {"batch",
       fmt::format(
           "{} streams of {} positions{}: {} tokens per step", t.batch_size, t.unroll,
           t.accumulation_steps > 1 ? fmt::format(", {} accumulated", t.accumulation_steps) : "",
           m.tokens_per_step)},
      {"machine", machine_text(config)},
      {"a step", fmt::format("{:.4g} s, median of {} (fastest {:.4g}, slowest {:.4g})",
                             m.seconds_per_step(), m.step_seconds.size(), *fastest, *slowest)},
      {"speed", fmt::format("{} tokens/s", format_count(m.tokens_per_second()))},
      {"arithmetic",
       fmt::format("{:.4g} GFLOP per step, {:.4g} GFLOP/s: {:.0f}% of a plain product",
                   m.gflop_per_step, m.gflops(), 100.0 * m.fraction_of_products())},
      {"plain product", fmt::format("{:.4g} GFLOP/s, {}, of two matrices of {}", m.product_gflops,
                                    name(m.product_precision), m.product_size)},
      {"plain copy", fmt::format("{:.3g} GB/s", m.copy_gbytes_per_second)},
      {"tensors", memory_text(m.memory)},
      {"from the system", fmt::format("{} held, {} blocks taken in the timed steps",
                                      megabytes(m.memory.reserved), m.memory.system_allocations)},
      {"process", fmt::format("{} at most", megabytes(m.memory.peak_rss))},
      {"loss", fmt::format("{:.4f} nats in the last step", m.nats_per_token)},
  };
}

nlohmann::ordered_json json_of(const BenchTrainOptions& options, const Config& config,
                               const TrainingMeasurement& m) {
  nlohmann::ordered_json json{{"command", "train"}, {"config", options.config}};
  json.update(machine_json(config));
  json.update({{"parameters", m.parameters},
               {"vocabulary", m.vocabulary},
               {"batch_size", config.training.batch_size},
               {"unroll", config.training.unroll},
               {"accumulation_steps", config.training.accumulation_steps},
               {"memory_length", config.training.unroll},
               {"tokens_per_step", m.tokens_per_step},
               {"warmup_steps", options.benchmark.warmup_steps},
               {"steps", options.benchmark.steps},
               {"step_seconds", m.step_seconds},
               {"seconds_per_step", m.seconds_per_step()},
               {"tokens_per_second", m.tokens_per_second()},
               {"model_gflop_per_step", m.gflop_per_step},
               {"model_gflops", m.gflops()},
               {"gemm_gflops", m.product_gflops},
               {"gemm_precision", name(m.product_precision)},
               {"gemm_size", m.product_size},
               {"fraction_of_gemm", m.fraction_of_products()},
               {"copy_gbytes_per_second", m.copy_gbytes_per_second},
               {"peak_memory_bytes", m.memory.peak},
               {"weights_bytes", m.memory.weights},
               {"gradients_bytes", m.memory.gradients},
               {"optimizer_bytes", m.memory.optimizer},
               {"carried_bytes", m.memory.carried},
               {"activations_bytes", m.memory.activations()},
               {"reserved_memory_bytes", m.memory.reserved},
               {"system_allocations", m.memory.system_allocations},
               {"peak_rss_bytes", m.memory.peak_rss},
               {"loss_nats", m.nats_per_token}});
  return json;
}

void bench_train(const BenchTrainOptions& options) {
  Config config = load_config(options.config, options.overrides);
  config.run.threads = options.output.threads.value_or(config.run.threads);
  const TrainingBenchmarkOptions& benchmark = options.benchmark;
  TrainingMeasurement measured;
  {
    const Terminal terminal = detect_terminal(1);
    ProgressDisplay display(std::cout, terminal);
    const bool shown = terminal.interactive && !options.output.json_only();
    measured = measure_training(config, benchmark, [&](const StepReport& r) {
      if (shown) {
        display.update({r.step, benchmark.warmup_steps + benchmark.steps, r.epoch,
                        fmt::format("{:.3f} nats", r.nats_per_token), r.tokens_per_second, r.lr,
                        r.grad_norm, r.seconds_left});
      }
    });
  }
  report_measurement(options.output, "Rondo training benchmark", rows_of(config, measured),
                     json_of(options, config, measured));
}

}  // namespace

void add_bench_train(CLI::App& bench) {
  auto options = std::make_shared<BenchTrainOptions>();
  CLI::App* command = bench.add_subcommand("train", "Time the training steps of a config");
  command->add_option("config", options->config, "YAML config, see configs/")->required();
  command->add_option("--set", options->overrides, "Change a setting: section.key=value, in YAML")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--steps", options->benchmark.steps, "Steps to time")
      ->check(whole_number(1))
      ->capture_default_str();
  command
      ->add_option("--warmup", options->benchmark.warmup_steps,
                   "Steps before; RAdam moves no weight in its first five")
      ->check(whole_number(1))
      ->capture_default_str();
  add_output_options(*command, options->output);
  command->footer(R"(Examples:
  rondo bench train configs/quickstart.yaml
  rondo bench train configs/enwik8_42m.yaml --set data.corpus=builtin --steps 3 --json 42m.json

A step is all that `rondo train` does between two steps: forward and backward pass, gradient norm,
clipping, optimizer. Nothing is evaluated or saved, and no run folder is made. The rates of a plain
product of two matrices of 2048 and of a plain copy of 256 MiB are measured in the same run; on a
GPU the matrices are of 8192, in the precision of the training.)");
  command->callback([options] { bench_train(*options); });
}

}  // namespace rondo
