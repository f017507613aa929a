#include "trainers/training_benchmark.h"

#include <chrono>
#include <cmath>

#include "core/allocator.h"
#include "core/parallel.h"
#include "models/flops.h"
#include "trainers/config_validation.h"
#include "trainers/machine_limits.h"
#include "trainers/schedule.h"

namespace rondo {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point from) {
  return std::chrono::duration<double>(Clock::now() - from).count();
}

// A shorter segment, or one without memory, would be another step.
void require_full_segments(const Config& config, const TrainingBenchmarkOptions& options,
                           const StreamBatcher& batches) {
  const std::int64_t full = batches.positions() / config.training.unroll;
  const std::int64_t most = full / config.training.accumulation_steps;
  check(options.warmup_steps <= most && options.steps <= most - options.warmup_steps,
        "{} steps after {} of warm-up were asked for, but train of the corpus {} is enough for {} "
        "full ones in all; take fewer, a larger data.corpus, or a smaller training.batch_size or "
        "training.unroll",
        options.steps, options.warmup_steps, config.data.corpus, most);
}

std::size_t bytes_of(const std::vector<NamedTensor>& tensors) {
  std::size_t bytes = 0;
  for (const NamedTensor& named : tensors) {
    bytes += named.tensor.bytes();
  }
  return bytes;
}

TrainingMemory memory_of(const LmStepper& stepper, const MemoryStats& before,
                         const MemoryStats& after) {
  TrainingMemory memory;
  for (const NamedVariable& parameter : stepper.parameters()) {
    memory.weights += parameter.variable.value().bytes();
    const Tensor& grad = parameter.variable.grad();
    memory.gradients += grad.defined() ? grad.bytes() : 0;
  }
  memory.optimizer = bytes_of(stepper.optimizer().state());
  memory.carried = bytes_of(stepper.state().named());
  memory.peak = after.peak_bytes;
  memory.reserved = after.reserved_bytes;
  memory.system_allocations = after.system_allocations - before.system_allocations;
  memory.peak_rss = peak_rss_bytes();
  return memory;
}

}  // namespace

double TrainingMeasurement::seconds_per_step() const { return median(step_seconds); }

TrainingMeasurement measure_training(const Config& config, const TrainingBenchmarkOptions& options,
                                     const std::function<void(const StepReport&)>& on_step) {
  validate(config);
  check(options.warmup_steps >= 1 && options.steps >= 1,
        "[measure_training] {} steps of warm-up and {} timed ones; expected at least 1 of each",
        options.warmup_steps, options.steps);
  set_num_threads(static_cast<int>(config.run.threads));
  const ByteCorpus corpus = ByteCorpus::open(config.data.corpus);
  LmStepper stepper(config, corpus);
  require_full_segments(config, options, stepper.batches());

  CachingAllocator& memory = allocator(Device::parse(config.run.device));
  std::vector<double> products = measure_products(Precision::f32);
  memory.trim();  // what the limits took is no part of the steps

  TrainingMeasurement measured;
  const std::int64_t total = options.warmup_steps + options.steps;
  MemoryStats before;
  StepReport report;
  const auto started = Clock::now();
  for (std::int64_t step = 0; step < total; ++step) {
    if (step == options.warmup_steps) {
      memory.reset_peak();
      before = memory.stats();
    }
    report.lr = learning_rate(config.schedule, config.optimizer.lr, config.training.steps, step);
    const auto step_started = Clock::now();
    const StepGradient gradient = stepper.compute_gradient();
    stepper.apply(report.lr, gradient.norm);
    const double seconds = seconds_since(step_started);
    check(std::isfinite(gradient.nats_per_token) && std::isfinite(gradient.norm),
          "step {}: the loss is {} and the gradient norm {}; try a lower optimizer.lr or a longer "
          "schedule.warmup_steps",
          step + 1, gradient.nats_per_token, gradient.norm);
    if (step >= options.warmup_steps) {
      measured.step_seconds.push_back(seconds);
    }
    report.step = step + 1;
    report.epoch = stepper.epochs();
    report.nats_per_token = gradient.nats_per_token;
    report.grad_norm = gradient.norm;
    report.tokens += gradient.tokens;
    report.tokens_per_second = static_cast<double>(gradient.tokens) / seconds;
    report.seconds_left = seconds_since(started) / static_cast<double>(step + 1) *
                          static_cast<double>(total - step - 1);
    on_step(report);
  }
  measured.memory = memory_of(stepper, before, memory.stats());

  const std::vector<double> products_after = measure_products(Precision::f32);
  products.insert(products.end(), products_after.begin(), products_after.end());
  measured.product_gflops = median(products);
  measured.copy_gbytes_per_second = median(measure_copies());

  measured.parameters = count(stepper.parameters());
  measured.vocabulary = corpus.vocabulary().size();
  const TrainingConfig& t = config.training;
  measured.tokens_per_step = t.batch_size * t.unroll * t.accumulation_steps;
  measured.nats_per_token = report.nats_per_token;
  measured.gflop_per_step =
      1e-9 * static_cast<double>(t.accumulation_steps) *
      training_flops(config.model, measured.vocabulary, {t.batch_size, t.unroll, t.unroll}).total();
  return measured;
}

}  // namespace rondo
