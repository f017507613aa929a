// Training steps, timed, beside what the machine can do at best.
#pragma once

#include <functional>
#include <vector>

#include "trainers/config.h"
#include "trainers/lm_trainer.h"

namespace rondo {

struct TrainingBenchmarkOptions {
  // Steps before the timed ones. The first has no memory to attend to, and RAdam moves no weight
  // in its first five.
  std::int64_t warmup_steps = 6;
  std::int64_t steps = 20;
  std::int64_t product_size = 0;  // of the plain product; 0: product_size(device)
};

// Bytes of tensors on the device in the timed steps, and of the process until their end.
struct TrainingMemory {
  std::size_t peak = 0;  // the most in use at once
  std::size_t weights = 0;
  std::size_t gradients = 0;
  std::size_t optimizer = 0;  // moments
  std::size_t carried = 0;    // state and memory that pass from segment to segment
  std::size_t reserved = 0;   // held from the system: in use and cached
  // Blocks that the timed steps had to take from the system.
  std::size_t system_allocations = 0;
  std::size_t peak_rss = 0;

  // Whatever else there is at the peak: activations, their gradients and scratch space.
  std::size_t activations() const {
    const std::size_t rest = weights + gradients + optimizer + carried;
    return peak > rest ? peak - rest : 0;
  }
};

struct TrainingMeasurement {
  std::int64_t parameters = 0;
  std::int64_t vocabulary = 0;
  std::int64_t tokens_per_step = 0;
  std::vector<double> step_seconds;  // one per timed step
  double nats_per_token = 0.0;       // loss of the last step
  double gflop_per_step = 0.0;       // that the model needs (models/flops.h)
  // Of a plain product, f32 on the CPU and in training.precision on a GPU: the median of before and
  // after the timed steps.
  double product_gflops = 0.0;
  Precision product_precision = Precision::f32;
  std::int64_t product_size = 0;
  double copy_gbytes_per_second = 0.0;
  TrainingMemory memory;

  double seconds_per_step() const;  // median
  double tokens_per_second() const {
    return static_cast<double>(tokens_per_step) / seconds_per_step();
  }
  double gflops() const { return gflop_per_step / seconds_per_step(); }
  double fraction_of_products() const { return gflops() / product_gflops; }
};

// Takes the steps that LmTrainer would take from the start of a run, on run.threads threads or the
// GPU, and times them. Nothing is written or evaluated. All timed steps are alike: full segments of
// the first epoch, with a memory of training.unroll positions. `on_step` hears of every step, those
// of the warm-up included; its time is not counted. On a GPU, whose steps follow one another
// without a pause, it hears of those of the warm-up and of the last. Throws Error for a config that
// does not hold, for a train split too short for that many steps, and when the loss is no longer
// finite.
TrainingMeasurement measure_training(const Config& config, const TrainingBenchmarkOptions& options,
                                     const std::function<void(const StepReport&)>& on_step);

}  // namespace rondo
