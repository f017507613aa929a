// The step that training and its measurement share.
#include "trainers/lm_stepper.h"

#include "tests/support/testing.h"
#include "tests/support/tiny_runs.h"
#include "trainers/schedule.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

StepGradient take_step(LmStepper& stepper, double lr = 0.01) {
  const StepGradient gradient = stepper.compute_gradient();
  stepper.apply(lr, gradient);
  return gradient;
}

void require_same_weights(const LmStepper& a, const LmStepper& b) {
  REQUIRE(a.parameters().size() == b.parameters().size());
  for (std::size_t i = 0; i < a.parameters().size(); ++i) {
    INFO(a.parameters()[i].name);
    REQUIRE(same_bits(a.parameters()[i].variable.value(), b.parameters()[i].variable.value()));
  }
}

}  // namespace

TEST_CASE("a stepper takes the steps of a training run", "[trainers][lm_stepper]") {
  const TinyRuns runs;
  const Config config = runs.config("run");
  struct Witness : TrainingObserver {
    void on_step(const StepReport& report) override { reports.push_back(report); }
    std::vector<StepReport> reports;
  } witness;
  LmTrainer trainer(config, false);
  trainer.run(witness, [] { return false; });

  LmStepper stepper(config, trainer.corpus());
  std::int64_t tokens = 0;
  for (const StepReport& report : witness.reports) {
    const double lr =
        learning_rate(config.schedule, config.optimizer.lr, config.training.steps, report.step - 1);
    const StepGradient gradient = take_step(stepper, lr);
    tokens += gradient.tokens;
    REQUIRE(gradient.loss.item() == report.nats_per_token);
    REQUIRE(gradient.norm.item() == report.grad_norm);
    REQUIRE(tokens == report.tokens);
    REQUIRE(stepper.epochs() == report.epoch);
  }
  REQUIRE(witness.reports.size() == 12);
  REQUIRE(witness.reports.back().epoch > 2.0);  // over the ends of epochs, too
}

TEST_CASE("the gradient moves no weight, applying it moves no state", "[trainers][lm_stepper]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  config.optimizer.type = OptimizerType::sgd;
  const Corpus corpus = Corpus::open(config.data.corpus);
  const LmStepper fresh(config, corpus);
  LmStepper stepper(config, corpus);
  const StepGradient gradient = stepper.compute_gradient();
  require_same_weights(stepper, fresh);
  REQUIRE(stepper.position().segment == config.training.accumulation_steps);
  REQUIRE(gradient.tokens == 2 * 4 * 50);
  REQUIRE(gradient.norm.item() > 0.0);

  const std::uint64_t stream = stepper.generator().next_stream();
  REQUIRE(stream > fresh.generator().next_stream());
  stepper.apply(0.01, gradient);
  REQUIRE(stepper.position().segment == config.training.accumulation_steps);
  REQUIRE(stepper.generator().next_stream() == stream);
  REQUIRE_FALSE(
      same_bits(stepper.parameters()[0].variable.value(), fresh.parameters()[0].variable.value()));
}

TEST_CASE("an applied gradient is clipped by the settings", "[trainers][lm_stepper]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  config.optimizer = {};
  config.optimizer.type = OptimizerType::sgd;
  config.optimizer.weight_decay = 0.0;
  config.training.clip_grad_norm = 1e-3;
  const Corpus corpus = Corpus::open(config.data.corpus);
  const LmStepper fresh(config, corpus);
  LmStepper stepper(config, corpus);
  const double lr = 1000.0;  // so that the way is long beside the rounding of the weights
  take_step(stepper, lr);
  double squares = 0.0;
  for (std::size_t i = 0; i < fresh.parameters().size(); ++i) {
    const Tensor before = on_cpu(fresh.parameters()[i].variable.value());
    const Tensor after = on_cpu(stepper.parameters()[i].variable.value());
    for (std::int64_t k = 0; k < before.numel(); ++k) {
      const double way = static_cast<double>(after.data<float>()[k]) - before.data<float>()[k];
      squares += way * way;
    }
  }
  REQUIRE(std::sqrt(squares) == Approx(lr * 1e-3).epsilon(1e-3));
}

TEST_CASE("a restored stepper goes on as the other does", "[trainers][lm_stepper]") {
  const TinyRuns runs;
  const Config config = runs.config("run");
  const Corpus corpus = Corpus::open(config.data.corpus);
  LmStepper first(config, corpus);
  LmStepper second(config, corpus);
  for (int i = 0; i < 8; ++i) {
    take_step(first);
  }
  for (std::size_t i = 0; i < first.parameters().size(); ++i) {
    Variable target = second.parameters()[i].variable;
    target.value().copy_from(first.parameters()[i].variable.value());
  }
  for (std::size_t i = 0; i < first.optimizer().state().size(); ++i) {
    Tensor target = second.optimizer().state()[i].tensor;
    target.copy_from(first.optimizer().state()[i].tensor);
  }
  second.optimizer().set_progress(first.optimizer().progress());
  second.restore(first.state(), first.generator(), first.position());
  REQUIRE(second.epochs() == first.epochs());
  for (int i = 0; i < 3; ++i) {
    const StepGradient a = take_step(first);
    const StepGradient b = take_step(second);
    REQUIRE(a.loss.item() == b.loss.item());
    REQUIRE(a.norm.item() == b.norm.item());
  }
  require_same_weights(first, second);
}

TEST_CASE("bf16 products train as f32 ones do, on the same weights in f32",
          "[trainers][lm_stepper][bf16]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  const Corpus corpus = Corpus::open(config.data.corpus);
  LmStepper exact(config, corpus);
  config.training.precision = Precision::bf16;
  LmStepper rounded(config, corpus);
  require_same_weights(exact, rounded);
  for (int step = 0; step < 12; ++step) {
    const StepGradient a = take_step(exact);
    const StepGradient b = take_step(rounded);
    REQUIRE(a.loss.item() != b.loss.item());
    REQUIRE(b.loss.item() == Approx(a.loss.item()).epsilon(0.01));
    REQUIRE(b.norm.item() == Approx(a.norm.item()).epsilon(0.1));
  }
  for (const NamedVariable& p : rounded.parameters()) {
    REQUIRE(p.variable.dtype() == DType::f32);
  }
  LmStepper again(config, corpus);
  LmStepper same(config, corpus);
  REQUIRE(take_step(again).loss.item() == take_step(same).loss.item());
}
