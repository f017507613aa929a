#include "trainers/training_benchmark.h"

#include "models/flops.h"
#include "tests/support/testing.h"
#include "tests/support/tiny_runs.h"
#include "trainers/machine_limits.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

constexpr std::int64_t kProduct = 64;  // what the product can do is not what is tested

// Eleven full steps of two segments in an epoch, and a shorter one behind them.
Config measurable(const TinyRuns& runs) {
  Config config = runs.config("run");
  config.training.unroll = 10;
  return config;
}

}  // namespace

TEST_CASE("training steps are measured as training takes them", "[trainers][benchmark]") {
  const TinyRuns runs;
  const Config config = measurable(runs);
  std::vector<StepReport> heard;
  const TrainingMeasurement measured = measure_training(
      config, {3, 4, kProduct}, [&](const StepReport& report) { heard.push_back(report); });
  REQUIRE(measured.step_seconds.size() == 4);
  // A GPU goes ahead in the timed steps, and is read after the last.
  const bool all = test_device().is_cpu();
  REQUIRE(heard.size() == (all ? 7 : 4));
  REQUIRE(heard.back().step == 7);
  REQUIRE_FALSE(std::filesystem::exists(config.run.folder));

  LmStepper stepper(config, Corpus::open(config.data.corpus));
  REQUIRE(measured.parameters == count(stepper.parameters()));
  REQUIRE(measured.tokens_per_step == 2 * 4 * 10);
  REQUIRE(measured.gflop_per_step ==
          Approx(2e-9 * training_flops(config.model, measured.vocabulary, {4, 10, 10}).total()));
  REQUIRE(measured.tokens_per_second() * measured.seconds_per_step() == Approx(80.0));
  REQUIRE(measured.fraction_of_products() * measured.product_gflops ==
          Approx(measured.gflop_per_step / measured.seconds_per_step()));
  REQUIRE(measured.copy_gbytes_per_second > 0.0);
  REQUIRE(measured.product_size == kProduct);
  REQUIRE(measured.product_precision == Precision::f32);

  struct Witness : TrainingObserver {
    void on_step(const StepReport& report) override { reports.push_back(report); }
    std::vector<StepReport> reports;
  } witness;
  LmTrainer trainer(config, false);
  trainer.run(witness, [&] { return trainer.step() >= 7; });
  for (const StepReport& report : heard) {
    const StepReport& trained = witness.reports.at(static_cast<std::size_t>(report.step - 1));
    REQUIRE(report.nats_per_token == trained.nats_per_token);
    REQUIRE(report.grad_norm == trained.grad_norm);
    REQUIRE(report.lr == trained.lr);
    REQUIRE(report.tokens == trained.tokens);
  }
  REQUIRE(measured.nats_per_token == heard.back().nats_per_token);
}

TEST_CASE("the memory of training steps adds up", "[trainers][benchmark]") {
  const TinyRuns runs;
  const TrainingMeasurement measured =
      measure_training(measurable(runs), {3, 4, kProduct}, [](const StepReport&) {});
  const TrainingMemory& m = measured.memory;
  REQUIRE(m.weights == 4 * static_cast<std::size_t>(measured.parameters));
  REQUIRE(m.gradients == m.weights);
  REQUIRE(m.optimizer == 2 * m.weights);  // RAdam's two moments
  // Two layers: c of 4 streams x 6 units, memory of 10 positions.
  REQUIRE(m.carried == 2 * 4 * 4 * 6 * (1 + 10));
  REQUIRE(m.activations() > 0);
  REQUIRE(m.weights + m.gradients + m.optimizer + m.carried + m.activations() == m.peak);
  REQUIRE(m.reserved >= m.peak);
  REQUIRE((m.peak_rss >= m.peak || test_device().is_cuda()));
  REQUIRE(m.system_allocations == 0);  // the sizes of a step repeat

  // But for those of the second, which is the first with a memory.
  Config config = measurable(runs);
  config.training.accumulation_steps = 1;
  REQUIRE(measure_training(config, {1, 1, kProduct}, [](const StepReport&) {
          }).memory.system_allocations > 0);
}

TEST_CASE("steps that cannot be measured alike are refused", "[trainers][benchmark]") {
  const TinyRuns runs;
  Config config = measurable(runs);
  const auto error = [&](std::int64_t warmup_steps, std::int64_t steps) {
    return error_of([&] {
      measure_training(config, {warmup_steps, steps, kProduct}, [](const StepReport&) {});
    });
  };
  REQUIRE_THAT(error(6, 6), ContainsSubstring("6 steps after 6 of warm-up") &&
                                ContainsSubstring("enough for 11 full ones"));
  REQUIRE_THAT(error(1, std::numeric_limits<std::int64_t>::max()), ContainsSubstring("full ones"));
  REQUIRE_THAT(error(0, 6), ContainsSubstring("expected at least 1"));
  REQUIRE_THAT(error(6, 0), ContainsSubstring("expected at least 1"));
  config.training.unroll = 0;
  REQUIRE_THAT(error(1, 1), ContainsSubstring("training.unroll"));
}

TEST_CASE("numbers that are no longer finite end the measurement", "[trainers][benchmark]") {
  const TinyRuns runs;
  Config config = measurable(runs);
  config.optimizer.type = OptimizerType::sgd;
  config.optimizer.lr = 1e38;
  config.optimizer.weight_decay = 0.0;
  config.training.clip_grad_norm = 0.0;
  REQUIRE_THAT(error_of([&] {
                 measure_training(config, {1, 9, kProduct}, [](const StepReport&) {});
               }),
               ContainsSubstring("the loss is") && ContainsSubstring("optimizer.lr"));
}
