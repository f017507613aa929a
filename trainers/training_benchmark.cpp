#include "trainers/training_benchmark.h"

#include <chrono>

#include "core/allocator.h"
#include "core/parallel.h"
#include "models/flops.h"
#include "trainers/config_validation.h"
#include "trainers/machine_limits.h"
#include "trainers/schedule.h"
#include "trainers/span_timer.h"

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
  require_device(config);
  check(options.warmup_steps >= 1 && options.steps >= 1,
        "[measure_training] {} steps of warm-up and {} timed ones; expected at least 1 of each",
        options.warmup_steps, options.steps);
  set_num_threads(static_cast<int>(config.run.threads));
  flush_denormals();
  const Corpus corpus = Corpus::open(config.data.corpus);
  LmStepper stepper(config, corpus);
  require_full_segments(config, options, stepper.batches());

  const Device device = Device::parse(config.run.device);
  TrainingMeasurement measured;
  measured.product_precision = device.is_cuda() ? config.training.precision : Precision::f32;
  measured.product_size = options.product_size > 0 ? options.product_size : product_size(device);
  const auto measure = [&] {
    return measure_products(measured.product_precision, device, measured.product_size);
  };
  CachingAllocator& memory = allocator(device);
  std::vector<double> products = measure();
  memory.trim();  // what the limits took is no part of the steps

  const auto timer = span_timer(device);
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
    const bool timed = step >= options.warmup_steps;
    if (timed) {
      timer->start();
    }
    const StepGradient gradient = stepper.compute_gradient();
    stepper.apply(report.lr, gradient);
    if (timed) {
      timer->stop();
    }
    report.tokens += gradient.tokens;
    if (device.is_cuda() && timed && step + 1 < total) {
      continue;
    }
    report.step = step + 1;
    report.epoch = stepper.epochs();
    report.nats_per_token = gradient.loss.item();
    report.grad_norm = gradient.norm.item();
    report.tokens_per_second = static_cast<double>(gradient.tokens) / seconds_since(step_started);
    const StepState state = stepper.optimizer().progress();
    check(state.failed_check == 0,
          "step {}: the loss is {} and the gradient norm {}; try a lower optimizer.lr or a longer "
          "schedule.warmup_steps",
          state.failed_check, state.failed_loss, state.failed_norm);
    report.loss_scale = state.loss_scale;
    report.skipped_steps = state.skipped;
    report.seconds_left = seconds_since(started) / static_cast<double>(step + 1) *
                          static_cast<double>(total - step - 1);
    on_step(report);
  }
  measured.step_seconds = timer->seconds();
  measured.memory = memory_of(stepper, before, memory.stats());

  const std::vector<double> products_after = measure();
  products.insert(products.end(), products_after.begin(), products_after.end());
  measured.product_gflops = median(products);
  measured.copy_gbytes_per_second = median(measure_copies(device));

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
