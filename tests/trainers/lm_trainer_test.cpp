// What a run leaves behind, and what it says when it cannot go on; resuming is resume_test.cpp's.
#include "trainers/lm_trainer.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/file.h"
#include "tests/support/file_size_limit.h"
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

using Steps = std::vector<std::int64_t>;

Steps steps_of(const std::vector<MetricsRecord>& records, std::string_view kind) {
  Steps steps;
  for (const MetricsRecord& record : records) {
    if (record.kind == kind) {
      steps.push_back(record.step);
    }
  }
  return steps;
}

// What the log says about learning, without times.
std::vector<std::string> story_of(const fs::path& log) {
  std::vector<std::string> story;
  for (const MetricsRecord& record : read_metrics(log)) {
    story.push_back(fmt::format("{} {} {}", record.kind, record.step, record.number("bpc")));
  }
  return story;
}

std::string learning_of(const fs::path& run, const std::string& which) {
  const fs::path folder = run / "checkpoints" / which;
  return read_bytes(folder / "model.safetensors") + read_bytes(folder / "training.safetensors");
}

// Saves the last checkpoint of the run again with `change` made to its state.
void rewrite_state(const fs::path& run, const std::function<void(nlohmann::json&)>& change,
                   bool with_training = true) {
  const LoadedCheckpoint old = load_checkpoint(run, CheckpointChoice::last);
  const auto tensors = [](const SafetensorsFile& file) {
    std::vector<NamedTensor> all;
    for (const std::string& name : file.names()) {
      all.push_back({name, file.tensor(name)});
    }
    return all;
  };
  nlohmann::json state = nlohmann::json::parse(old.state_json.value());
  change(state);
  Checkpoint changed{tensors(old.model), old.model.metadata(), {}, state.dump()};
  if (with_training) {
    changed.training = tensors(old.training.value());
  }
  CheckpointFolder(run / "checkpoints").save(old.step.value(), changed, false);
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
  const LoadedModel best = load_model(load_checkpoint(run, CheckpointChoice::best));
  REQUIRE(best.description.config == config.model);
  REQUIRE(best.description.vocabulary == trainer.corpus().vocabulary());
  REQUIRE(best.description.window == config.training.unroll);
  REQUIRE(best.description.corpus == config.data.corpus);
  EvaluationOptions options;
  options.window = config.training.unroll;
  const ByteCorpus& corpus = trainer.corpus();
  for (const auto& [split, told] :
       {std::pair(Split::dev, summary.dev), std::pair(Split::test, summary.test)}) {
    const EvaluationResult result =
        evaluate(*best.model, corpus.split(split), corpus.vocabulary(), options);
    REQUIRE(told.value().nats_per_token == result.nats_per_token);
    REQUIRE(told->tokens == static_cast<std::int64_t>(corpus.split(split).size()) - 1);
  }
  REQUIRE(summary.best_dev_bpc == summary.dev->bits_per_character());

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
  REQUIRE(summary.best_dev_bpc == lowest->number("bpc"));
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

  LmTrainer trainer(config, true);
  Witness witness;
  const TrainingSummary again = trainer.run(witness, never);
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

TEST_CASE("a refused resume changes nothing", "[trainers][lm_trainer]") {
  const TinyRuns runs;
  const Config config = runs.config("run");
  runs.train(config, false, 6);
  const fs::path run = runs.path("run");
  const auto contents = [&] {
    return read_bytes(run / "config.yaml") + read_bytes(run / "metrics.jsonl") +
           learning_of(run, "last") + learning_of(run, "best");
  };
  const std::string before = contents();
  const auto refused = [&](const Config& other, bool resume = true) {
    const std::string message = error_of([&] { LmTrainer trainer(other, resume); });
    REQUIRE(contents() == before);
    return message;
  };
  REQUIRE_THAT(refused(config, false), ContainsSubstring("step_00000006"));
  Config other = config;
  other.model.num_layers = 3;
  REQUIRE_THAT(refused(other), ContainsSubstring("another model"));
  other = config;
  other.training.unroll = 25;
  REQUIRE_THAT(refused(other), ContainsSubstring("training.unroll 50"));
  other = config;
  other.optimizer.type = OptimizerType::sgd;
  REQUIRE_THAT(refused(other), ContainsSubstring("training state") &&
                                   ContainsSubstring("velocity") && ContainsSubstring("optimizer"));

  // The same bytes, so the same vocabulary, but more of them.
  const std::string text = read_bytes(runs.path("text"));
  write_bytes(runs.path("longer"), text + text);
  prepare_text({runs.path("longer"), runs.path("longer_corpus"), ""});
  other = config;
  other.data.corpus = runs.path("longer_corpus").string();
  REQUIRE_THAT(refused(other), ContainsSubstring("900 bytes in train") &&
                                   ContainsSubstring("has 1800") &&
                                   ContainsSubstring("the corpus it was trained on"));
  other.data.corpus = runs.path("nowhere").string();
  REQUIRE_THAT(refused(other), ContainsSubstring("nowhere"));
  REQUIRE_NOTHROW(runs.train(config, true));
}

TEST_CASE("a training state that does not fit is refused", "[trainers][lm_trainer]") {
  const TinyRuns runs;
  const Config config = runs.config("run");
  runs.train(config, false, 6);
  const auto whole = nlohmann::json::parse(
      load_checkpoint(runs.path("run"), CheckpointChoice::last).state_json.value());
  const auto error_after = [&](const std::function<void(nlohmann::json&)>& change) {
    rewrite_state(runs.path("run"), [&](nlohmann::json& state) {
      state = whole;
      change(state);
    });
    const std::string message = error_of([&] { LmTrainer trainer(config, true); });
    REQUIRE_THAT(message, ContainsSubstring((runs.path("run") / "checkpoints").string()));
    return message;
  };
  for (const auto& item : whole.items()) {
    INFO("without " << item.key());
    REQUIRE_THAT(error_after([&](nlohmann::json& state) { state.erase(item.key()); }),
                 ContainsSubstring("training state is damaged"));
  }
  for (const char* key : {"step", "epoch", "segment", "tokens", "seconds", "best_step", "best_nats",
                          "seed", "next_stream", "optimizer_steps"}) {
    INFO(key << " is a text");
    REQUIRE_THAT(error_after([&](nlohmann::json& state) { state[key] = "text"; }),
                 ContainsSubstring("training state is damaged"));
  }
  REQUIRE_THAT(error_after([](nlohmann::json& state) { state["version"] = 2; }),
               ContainsSubstring("training state of version 2; expected 1"));

  const auto keep = [&](nlohmann::json& state) { state = whole; };
  rewrite_state(runs.path("run"), keep);
  REQUIRE_NOTHROW(LmTrainer(config, true));
  rewrite_state(runs.path("run"), keep, /*with_training=*/false);
  REQUIRE_THAT(error_of([&] { LmTrainer trainer(config, true); }),
               ContainsSubstring("no training state") && ContainsSubstring("not resumed"));
}

TEST_CASE("a damaged last checkpoint is refused and the best one named", "[trainers][lm_trainer]") {
  const TinyRuns runs;
  const Config config = runs.config("run");
  runs.train(config, false, 6);  // best is of step 5
  const fs::path file = runs.path("run") / "checkpoints" / "step_00000006" / "training.safetensors";
  std::string bytes = read_bytes(file);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_bytes(file, bytes);
  REQUIRE_THAT(error_of([&] { runs.train(config, true); }),
               ContainsSubstring("training.safetensors") && ContainsSubstring("damaged") &&
                   ContainsSubstring("step_00000005"));
}

TEST_CASE("weights that overflow are not saved", "[trainers][lm_trainer]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  // The biases begin at -2: decay takes them beyond what a float holds in one step.
  config.optimizer.type = OptimizerType::sgd;
  config.optimizer.weight_decay = 1.0;
  config.training.clip_grad_norm = 0.0;
  config.schedule.type = ScheduleType::constant;
  config.checkpoint.every = 1;
  config.evaluation.every = 0;
  config.optimizer.lr = 1e-3;
  runs.train(config, false, 4);
  const std::string before = learning_of(runs.path("run"), "last");

  config.optimizer.lr = 3e38;
  REQUIRE_THAT(error_of([&] { runs.train(config, true); }),
               ContainsSubstring("stopped at step 5: the weights are no longer finite") &&
                   ContainsSubstring("the last good checkpoint is") &&
                   ContainsSubstring("step_00000004"));
  REQUIRE(learning_of(runs.path("run"), "last") == before);
  config.run.folder = runs.path("fresh").string();
  REQUIRE_THAT(
      error_of([&] { runs.train(config); }),
      ContainsSubstring("stopped at step 1") && ContainsSubstring("nothing was saved yet"));

  // Dev is seen before the save.
  config.run.folder = runs.path("run").string();
  config.evaluation.every = 1;
  REQUIRE_THAT(error_of([&] { runs.train(config, true); }),
               ContainsSubstring("stopped at step 5: the loss on dev is"));
  REQUIRE(learning_of(runs.path("run"), "last") == before);

  config.optimizer.lr = 1e-3;
  REQUIRE(runs.train(config, true).steps == 12);
}

TEST_CASE("a full disk stops the run and spoils nothing", "[trainers][lm_trainer]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  config.evaluation.every = 0;
  runs.train(runs.config("straight"));
  runs.train(config, false, 4);
  const fs::path run = runs.path("run");
  const std::string before = learning_of(run, "last");
  const auto size = [&](const char* file) {
    return static_cast<rlim_t>(fs::file_size(run / "checkpoints" / "last" / file));
  };
  const auto error_with = [&](rlim_t limit) {
    LmTrainer trainer(config, true);
    Witness witness;
    const FileSizeLimit full(limit);
    return error_of([&] { trainer.run(witness, never); });
  };
  // The log, then the checkpoint of step 8.
  REQUIRE_THAT(error_with(fs::file_size(run / "metrics.jsonl") + 10),
               ContainsSubstring("cannot write") && ContainsSubstring("metrics.jsonl"));
  REQUIRE(learning_of(run, "last") == before);
  REQUIRE_THAT(error_with(size("training.safetensors") - 1),
               ContainsSubstring("cannot write") && ContainsSubstring("training.safetensors"));
  REQUIRE(learning_of(run, "last") == before);
  REQUIRE_NOTHROW(load_model(load_checkpoint(run, CheckpointChoice::last)));

  // With room again the run ends as if nothing had happened.
  config.evaluation.every = 5;
  runs.train(config, true);
  runs.require_same("straight", "run");
  Steps steps(12);
  std::iota(steps.begin(), steps.end(), 1);
  REQUIRE(steps_of(read_metrics(run / "metrics.jsonl"), "train") == steps);
}

TEST_CASE("a run folder that cannot be made is found out at once", "[trainers][lm_trainer]") {
  const TinyRuns runs;
  write_bytes(runs.path("file"), "mine");
  Config config = runs.config("file");
  REQUIRE_THAT(error_of([&] { LmTrainer trainer(config, false); }),
               ContainsSubstring("cannot create folder") && ContainsSubstring("file"));
  REQUIRE(read_bytes(runs.path("file")) == "mine");

  config = runs.config("run");
  fs::create_directory(runs.path("run"));
  write_bytes(runs.path("run") / "checkpoints", "in the way");
  REQUIRE_THAT(error_of([&] { LmTrainer trainer(config, false); }),
               ContainsSubstring("cannot create folder") && ContainsSubstring("checkpoints"));

  config.run.folder = "";
  REQUIRE_THAT(error_of([&] { LmTrainer trainer(config, false); }),
               ContainsSubstring("run.folder"));
}

TEST_CASE("a text too short says which settings to lower", "[trainers][lm_trainer]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  config.training.batch_size = 20;
  REQUIRE_THAT(error_of([&] { LmTrainer trainer(config, false); }),
               ContainsSubstring("train of the corpus " + config.data.corpus) &&
                   ContainsSubstring("training.batch_size and training.unroll") &&
                   ContainsSubstring("900 bytes") && ContainsSubstring("at least 1001") &&
                   ContainsSubstring("lower unroll or batch_size"));
  config = runs.config("run");
  config.evaluation.batch_size = 50;  // dev has 50 bytes, 49 of them to predict
  REQUIRE_THAT(error_of([&] { LmTrainer trainer(config, false); }),
               ContainsSubstring("dev of the corpus " + config.data.corpus) &&
                   ContainsSubstring("evaluation.batch_size") &&
                   ContainsSubstring("lower batch_size"));
  REQUIRE_FALSE(fs::exists(runs.path("run")));
  config.evaluation.batch_size = 49;
  REQUIRE_NOTHROW(LmTrainer(config, false));
}
