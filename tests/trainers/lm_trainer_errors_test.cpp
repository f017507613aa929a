// What a run says when it cannot start or go on, and that it leaves what is saved alone.
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>

#include "data/prepare.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/testing.h"
#include "tests/support/tiny_runs.h"
#include "trainers/lm_trainer.h"

using namespace rondo;
using namespace rondo::testing;

namespace fs = std::filesystem;

namespace {

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
  REQUIRE_THAT(refused(other), ContainsSubstring("900 tokens in train") &&
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
    if (item.key() == "train_sha256" || item.key() == "evaluation") {
      continue;  // checkpoints from before they were kept go on
    }
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
    TrainingObserver silent;
    const FileSizeLimit full(limit);
    return error_of([&] { trainer.run(silent, [] { return false; }); });
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
                   ContainsSubstring("900 tokens") && ContainsSubstring("at least 1001") &&
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
