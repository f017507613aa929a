// What a run does and leaves behind. Its errors are in lm_trainer_errors_test.cpp.
#include "trainers/lm_trainer.h"

#include <cmath>

#include "core/file.h"
#include "tests/support/testing.h"
#include "tests/support/tiny_runs.h"
#include "trainers/config_yaml.h"
#include "trainers/metrics_log.h"
#include "trainers/schedule.h"

using namespace rondo;
using namespace rondo::testing;

namespace fs = std::filesystem;

namespace {

bool never() { return false; }

// Keeps what it hears, and dies where it is told to, as a killed process would: nothing is saved.
class Witness : public TrainingObserver {
 public:
  struct Death {};

  std::int64_t dies_at_step = 0;
  std::int64_t dies_at_evaluation = 0;
  std::vector<StepReport> steps;
  std::vector<EvaluationReport> evaluations;
  std::vector<std::int64_t> starts;
  std::vector<std::int64_t> saves;

  void on_start(std::int64_t step) override { starts.push_back(step); }
  void on_step(const StepReport& report) override {
    steps.push_back(report);
    die_if(report.step == dies_at_step);
  }
  void on_evaluation(const EvaluationReport& report) override {
    evaluations.push_back(report);
    die_if(report.step == dies_at_evaluation);
  }
  void on_saved(std::int64_t step, const fs::path& /*folder*/) override { saves.push_back(step); }

 private:
  static void die_if(bool now) {
    if (now) {
      throw Death{};
    }
  }
};

// What the log says about learning, without times.
std::vector<std::string> story_of(const fs::path& log) {
  std::vector<std::string> story;
  for (const MetricsRecord& record : read_metrics(log)) {
    story.push_back(fmt::format("{} {} {}", record.kind, record.step, record.number("bpc")));
  }
  return story;
}

}  // namespace

TEST_CASE("a run leaves its settings, figures and checkpoints", "[trainers][lm_trainer]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  config.logging.tensorboard = true;
  config.evaluation.test_at_end = true;
  LmTrainer trainer(config, false);
  Witness witness;
  const TrainingSummary summary = trainer.run(witness, never);

  const fs::path run = runs.path("run");
  REQUIRE(trainer.folder() == run);
  REQUIRE(parse_config(read_file(run / "config.yaml"), "config.yaml") == config);
  REQUIRE(load_config(run / "config.yaml") == config);
  REQUIRE(read_file(run / "learning_curve.svg").find("<svg") != std::string::npos);
  std::size_t event_files = 0;
  for (const auto& entry : fs::directory_iterator(run / "tensorboard")) {
    REQUIRE_THAT(entry.path().filename().string(), ContainsSubstring("tfevents"));
    REQUIRE(entry.file_size() > 1000);
    ++event_files;
  }
  REQUIRE(event_files == 1);

  const std::vector<MetricsRecord> records = read_metrics(run / "metrics.jsonl");
  REQUIRE(steps_of(records, "train") == Steps{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  REQUIRE(steps_of(records, "dev") == Steps{5, 10, 12});
  REQUIRE(steps_of(records, "final_dev") == Steps{*summary.best_step});
  REQUIRE(steps_of(records, "test") == Steps{*summary.best_step});

  // What is saved is what was measured.
  const LoadedModel best = load_model(load_checkpoint(run, CheckpointChoice::best), test_device());
  REQUIRE(best.description.config == config.model);
  REQUIRE(best.description.vocabulary == trainer.corpus().vocabulary());
  REQUIRE(best.description.window == config.training.unroll);
  REQUIRE(best.description.corpus == config.data.corpus);
  EvaluationOptions options;
  options.window = config.training.unroll;
  const Corpus& corpus = trainer.corpus();
  for (const auto& [split, told] :
       {std::pair(Split::dev, summary.dev), std::pair(Split::test, summary.test)}) {
    const EvaluationResult result = evaluate(*best.model, corpus.split(split), options);
    REQUIRE(told.value().nats_per_token == result.nats_per_token);
    REQUIRE(told->tokens == static_cast<std::int64_t>(corpus.split(split).size()) - 1);
  }
  REQUIRE(summary.best_dev_nats == summary.dev->nats_per_token);

  REQUIRE(witness.starts == Steps{0});
  REQUIRE(witness.saves.back() == 12);
  REQUIRE(summary.steps == 12);
  REQUIRE(summary.parameters == count(trainer.model().parameters()));
  REQUIRE(summary.tokens == witness.steps.back().tokens);
  REQUIRE_FALSE(summary.stopped);
}

TEST_CASE("every step is reported as it was", "[trainers][lm_trainer]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  config.schedule.warmup_steps = 3;
  LmTrainer trainer(config, false);
  Witness witness;
  trainer.run(witness, never);
  // Four streams of (900 - 1) / 4 = 224 positions, in segments of 50, 50, 50, 50 and 24.
  const std::vector<std::int64_t> lengths = {50, 50, 50, 50, 24};
  std::int64_t segments = 0;
  std::int64_t tokens = 0;
  REQUIRE(witness.steps.size() == 12);
  for (const StepReport& report : witness.steps) {
    INFO("step " << report.step);
    for (int piece = 0; piece < 2; ++piece) {
      tokens += 4 * lengths[static_cast<std::size_t>(segments++ % 5)];
    }
    REQUIRE(report.tokens == tokens);
    REQUIRE(report.epoch == Approx(static_cast<double>(segments) / 5));
    REQUIRE(report.lr == learning_rate(config.schedule, config.optimizer.lr, 12, report.step - 1));
    REQUIRE(report.grad_norm > 0.0);
    REQUIRE(std::isfinite(report.nats_per_token));
    REQUIRE(report.tokens_per_second > 0.0);
    REQUIRE(report.seconds_left >= 0.0);
  }
  REQUIRE(witness.steps.back().seconds_left == 0.0);
}

TEST_CASE("every epoch starts without a past", "[trainers][lm_trainer]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  // Steps too small to change a weight: what a segment costs depends on its text and past alone.
  config.optimizer.type = OptimizerType::sgd;
  config.optimizer.weight_decay = 0.0;
  config.optimizer.lr = 1e-30;
  config.model.dropout = config.model.attention_dropout = 0.0;
  config.training.accumulation_steps = 1;
  LmTrainer trainer(config, false);
  Witness witness;
  trainer.run(witness, never);
  for (std::size_t step = 5; step < 12; ++step) {  // five segments an epoch
    INFO("step " << step + 1);
    REQUIRE(witness.steps[step].nats_per_token == witness.steps[step - 5].nats_per_token);
  }
  REQUIRE(witness.steps[1].nats_per_token != witness.steps[0].nats_per_token);
}

TEST_CASE("best stays when the model gets worse", "[trainers][lm_trainer]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  config.evaluation.every = 1;
  runs.train(config, false, 8);
  config.optimizer.lr = 100.0;
  config.schedule.type = ScheduleType::constant;
  const TrainingSummary summary = runs.train(config, true);

  const std::vector<MetricsRecord> records = read_metrics(runs.path("run") / "metrics.jsonl");
  std::optional<MetricsRecord> lowest;
  for (const MetricsRecord& record : records) {
    if (record.kind == "dev" && (!lowest || record.number("bpc") < lowest->number("bpc"))) {
      lowest = record;
    }
  }
  REQUIRE(summary.best_step == lowest->step);
  REQUIRE(summary.best_dev_nats == lowest->number("nats_per_token"));
  REQUIRE(lowest->step <= 8);
  REQUIRE(load_checkpoint(runs.path("run"), CheckpointChoice::best).step == lowest->step);
  REQUIRE(load_checkpoint(runs.path("run"), CheckpointChoice::last).step == 12);
}

TEST_CASE("every = 0 leaves evaluation and saving to the end", "[trainers][lm_trainer]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  config.evaluation.every = 0;
  config.checkpoint.every = 0;
  config.logging.every = 5;
  LmTrainer trainer(config, false);
  Witness witness;
  const TrainingSummary summary = trainer.run(witness, never);
  REQUIRE(witness.saves == Steps{12});
  REQUIRE(summary.best_step == 12);
  REQUIRE_FALSE(summary.dev.has_value());
  REQUIRE_FALSE(summary.test.has_value());
  const std::vector<MetricsRecord> records = read_metrics(runs.path("run") / "metrics.jsonl");
  REQUIRE(steps_of(records, "train") == Steps{1, 5, 10, 12});
  REQUIRE(steps_of(records, "dev") == Steps{12});
  REQUIRE_FALSE(fs::exists(runs.path("run") / "tensorboard"));
}

TEST_CASE("a run of one step a session is the run without stops", "[trainers][lm_trainer]") {
  const TinyRuns runs;
  runs.train(runs.config("straight"));
  const Config config = runs.config("halting");
  for (std::int64_t step = 0; step < 12; ++step) {
    LmTrainer trainer(config, true);
    REQUIRE(trainer.step() == step);
    Witness witness;
    trainer.run(witness, [&] { return trainer.step() > step; });
    REQUIRE(witness.starts == Steps{step});
  }
  runs.require_same("straight", "halting");
  REQUIRE(learning_of(runs.path("straight"), "best") == learning_of(runs.path("halting"), "best"));
  REQUIRE(story_of(runs.path("straight") / "metrics.jsonl") ==
          story_of(runs.path("halting") / "metrics.jsonl"));
}

TEST_CASE("a run that was killed ends with the same bytes and log", "[trainers][lm_trainer]") {
  const TinyRuns runs;
  runs.train(runs.config("straight"));
  const auto story = story_of(runs.path("straight") / "metrics.jsonl");
  const std::string best = learning_of(runs.path("straight"), "best");
  const auto require_recovers = [&](const std::string& name, Witness dying) {
    INFO(name);
    {
      LmTrainer trainer(runs.config(name), false);
      REQUIRE_THROWS_AS(trainer.run(dying, never), Witness::Death);
    }
    runs.train(runs.config(name), true);
    runs.require_same("straight", name);
    REQUIRE(learning_of(runs.path(name), "best") == best);
    REQUIRE(story_of(runs.path(name) / "metrics.jsonl") == story);
  };
  // Checkpoints are saved after steps 4, 5, 8, 10 and 12.
  for (const std::int64_t step : {4, 7, 12}) {
    Witness dying;
    dying.dies_at_step = step;
    require_recovers(fmt::format("step_{}", step), dying);
  }
  // After the line of an evaluation was written and before what it is about was saved.
  for (const std::int64_t step : {5, 12}) {
    Witness dying;
    dying.dies_at_evaluation = step;
    require_recovers(fmt::format("evaluation_{}", step), dying);
  }
}

TEST_CASE("a finished run that is resumed comes to the same results", "[trainers][lm_trainer]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  config.evaluation.test_at_end = true;
  const TrainingSummary first = runs.train(config);
  const std::string log = read_bytes(runs.path("run") / "metrics.jsonl");

  Witness witness;
  const TrainingSummary again = LmTrainer(config, true).run(witness, never);
  REQUIRE(witness.steps.empty());
  REQUIRE(witness.saves.empty());
  REQUIRE(witness.evaluations.size() == 2);
  REQUIRE(again.dev->nats_per_token == first.dev->nats_per_token);
  REQUIRE(again.test->nats_per_token == first.test->nats_per_token);
  REQUIRE(again.best_step == first.best_step);
  REQUIRE(read_bytes(runs.path("run") / "metrics.jsonl") == log);

  // With more steps to do it goes on; what it first ended with stays in the log.
  config.training.steps = 14;
  REQUIRE(runs.train(config, true).steps == 14);
  REQUIRE(steps_of(read_metrics(runs.path("run") / "metrics.jsonl"), "dev") ==
          Steps{5, 10, 12, 14});
}
