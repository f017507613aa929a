#include "trainers/sweep.h"

#include "core/error.h"
#include "tests/support/damage.h"
#include "tests/support/tiny_runs.h"
#include "trainers/run_lock.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// A folder with two configs and a sweep over them.
class SweepFile {
 public:
  SweepFile() {
    std::filesystem::create_directory(folder_ / "sweeps");
    write_bytes(folder_ / "a.yaml", "model: {projection_size: 4, num_layers: 4}\n");
    write_bytes(folder_ / "lstm.yaml", "model: {type: lstm}\n");
  }

  Sweep load(std::string_view yaml, const std::vector<std::string>& overrides = {}) const {
    write_bytes(file(), yaml);
    return load_sweep(file(), "", overrides);
  }
  std::string failure(std::string_view yaml, const std::vector<std::string>& overrides = {}) const {
    try {
      load(yaml, overrides);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  std::filesystem::path file() const { return folder_ / "sweeps" / "mine.yaml"; }

 private:
  TemporaryFolder folder_;
};

std::vector<std::string> names_of(const Sweep& sweep) {
  std::vector<std::string> names;
  for (const SweepRun& run : sweep.runs) {
    names.push_back(run.name);
  }
  return names;
}

}  // namespace

TEST_CASE("a grid is run in all its combinations", "[trainers][sweep][cpu]") {
  const SweepFile file;
  const Sweep sweep = file.load(R"(
config: ../a.yaml
set:
  training.steps: 7
grid:
  model.attention_layers: [[2], [1, 3], [], null]
  optimizer.lr: [1e-3, 2e-3]
  training.unroll: [64]
)",
                                {"training.steps=9"});
  REQUIRE(sweep.name == "mine");
  REQUIRE(sweep.folder == "runs/mine");
  REQUIRE(names_of(sweep) == std::vector<std::string>{
                                 "attention_layers=2,lr=1e-3", "attention_layers=2,lr=2e-3",
                                 "attention_layers=1+3,lr=1e-3", "attention_layers=1+3,lr=2e-3",
                                 "attention_layers=none,lr=1e-3", "attention_layers=none,lr=2e-3",
                                 "attention_layers=null,lr=1e-3", "attention_layers=null,lr=2e-3"});
  const Config& third = sweep.runs[2].config;
  REQUIRE(third.model.attention_layers == std::vector<std::int64_t>{1, 3});
  REQUIRE(third.model.num_layers == 4);
  REQUIRE(third.optimizer.lr == 1e-3);
  REQUIRE(third.training.unroll == 64);
  REQUIRE(third.training.steps == 9);
  REQUIRE(third.run.folder == "runs/mine/attention_layers=1+3,lr=1e-3");
  REQUIRE(sweep.runs[4].config.model.attention_layers == std::vector<std::int64_t>{});
  REQUIRE_FALSE(sweep.runs[6].config.model.attention_layers);
}

TEST_CASE("named runs have configs of their own", "[trainers][sweep][cpu]") {
  const SweepFile file;
  const Sweep sweep = file.load(R"(
name: kinds
config: ../a.yaml
set: {training.steps: 7}
runs:
  - name: small
  - name: lstm
    config: ../lstm.yaml
    set: {training.steps: 8}
grid: {run.seed: [1, 2]}
)");
  REQUIRE(sweep.folder == "runs/kinds");
  REQUIRE(names_of(sweep) ==
          std::vector<std::string>{"small,seed=1", "small,seed=2", "lstm,seed=1", "lstm,seed=2"});
  REQUIRE(sweep.runs[1].config.training.steps == 7);
  REQUIRE(sweep.runs[2].config.training.steps == 8);
  REQUIRE(sweep.runs[2].config.model.type == ModelType::lstm);
}

TEST_CASE("names of runs are safe and tell sections apart", "[trainers][sweep][cpu]") {
  const SweepFile file;
  REQUIRE(
      names_of(file.load("config: ../a.yaml\ngrid:\n  data.corpus: [builtin, ../data/x y]\n")) ==
      std::vector<std::string>{"corpus=builtin", "corpus=..-data-x-y"});
  REQUIRE(
      names_of(file.load("config: ../a.yaml\n"
                         "grid: {training.unroll: [8, 16], evaluation.unroll: [8, 16]}\n"))[1] ==
      "training.unroll=8,evaluation.unroll=16");
  REQUIRE(names_of(file.load("config: ../a.yaml\ngrid: {training.unroll: [8]}\n")) ==
          std::vector<std::string>{"unroll=8"});
  // Text in quotes is no number.
  REQUIRE_THAT(file.failure("config: ../a.yaml\ngrid:\n  training.unroll: ['8']\n"),
               ContainsSubstring("mine.yaml:3: training.unroll: expected a whole number from 1"));
}

TEST_CASE("mistakes in a sweep are named with file, line and key", "[trainers][sweep][cpu]") {
  const SweepFile file;
  const auto requires_text = [&](std::string_view yaml, const std::string& text) {
    CAPTURE(yaml);
    REQUIRE_THAT(file.failure(yaml), ContainsSubstring(text));
  };
  requires_text("", "mine.yaml: expected a sweep with config, grid and runs, found nothing");
  requires_text("config: ../a.yaml\ngird: {}\n", "mine.yaml:2: gird is nothing that a sweep has");
  requires_text("config: ../a.yaml\nconfig: ../a.yaml\n", "mine.yaml:2: config is given twice");
  requires_text("config: ../a.yaml\n", "mine.yaml: expected grid, runs, or both");
  requires_text("config: ../a.yaml\ngrid: {}\n", "mine.yaml:2: grid: expected settings");
  requires_text("config: ../a.yaml\ngrid:\n  optimizer.lr: []\n",
                "mine.yaml:3: grid: optimizer.lr: expected a list of at least one value");
  requires_text("config: ../a.yaml\ngrid:\n  optimizer.lr: 1e-3\n",
                "mine.yaml:3: grid: optimizer.lr: expected a list");
  requires_text("grid:\n  optimizer.lr: [1e-3]\n", "expected a config to start from");
  requires_text("config: ../none.yaml\ngrid:\n  optimizer.lr: [1e-3]\n", "none.yaml");
  requires_text("config: ../a.yaml\ngrid:\n  optimizer.lrr: [1e-3]\n",
                "mine.yaml:3: optimizer.lrr is not a setting; did you mean optimizer.lr?");
  requires_text("config: ../a.yaml\ngrid:\n  optimizer.lr:\n    - 1e-3\n    - fast\n",
                "run lr=fast of");
  requires_text("config: ../a.yaml\ngrid:\n  optimizer.lr:\n    - 1e-3\n    - fast\n",
                "mine.yaml:5: optimizer.lr: expected a number above 0, found 'fast'");
  requires_text("config: ../a.yaml\nset: {run.folder: x}\ngrid: {optimizer.lr: [1e-3]}\n",
                "mine.yaml:2: run.folder is the sweep's to choose");
  requires_text("config: ../a.yaml\nset: {training: {steps: 3}}\ngrid: {optimizer.lr: [1e-3]}\n",
                "mine.yaml:2: training: expected the value of a setting");
  requires_text("config: ../a.yaml\ngrid: {optimizer.lr: [1e-3, 1e-3]}\n",
                "two runs are called lr=1e-3");
  requires_text("config: ../a.yaml\nruns: []\n", "mine.yaml:2: runs: expected a list");
  requires_text("config: ../a.yaml\nruns:\n  - set: {training.steps: 3}\n",
                "mine.yaml:3: runs: expected a name");
  requires_text("config: ../a.yaml\nruns:\n  - name: ../up\n", "mine.yaml:3: name: expected");
  requires_text("config: ../a.yaml\nruns:\n  - {name: a, steps: 3}\n",
                "mine.yaml:3: steps is nothing that a run has");
  requires_text("grid: [\n", "mine.yaml:1: expected YAML");
  REQUIRE_THAT(
      file.failure("config: ../a.yaml\ngrid: {optimizer.lr: [1e-3]}\n", {"optimizer.lr=2e-3"}),
      ContainsSubstring("--set optimizer.lr=2e-3") && ContainsSubstring("varies"));
}

TEST_CASE("a folder says how far its run is, if it is the same run", "[trainers][sweep]") {
  const TinyRuns runs;
  SweepRun run{"run", {}, runs.config("run")};
  REQUIRE(state_of(run) == SweepRunState::fresh);
  runs.train(run.config, false, 5);
  REQUIRE(state_of(run) == SweepRunState::interrupted);

  // Where it runs is not what it computes.
  run.config.run.threads = 2;
  run.config.published.test = 1.0;
  REQUIRE(state_of(run) == SweepRunState::interrupted);
  run.config.optimizer.lr = 0.02;
  REQUIRE_THROWS_WITH(state_of(run),
                      ContainsSubstring("holds a run with other settings: optimizer.lr is 0.01 "
                                        "there and 0.02 here"));
  run.config = runs.config("run");
  runs.train(run.config, true);
  REQUIRE(state_of(run) == SweepRunState::finished);

  // Records of the end, but a checkpoint from before it: a killed run.
  SweepRun killed{"killed", {}, runs.config("killed")};
  runs.train(killed.config, false, 5);
  write_bytes(runs.path("killed") / "metrics.jsonl",
              read_bytes(runs.path("run") / "metrics.jsonl"));
  REQUIRE(state_of(killed) == SweepRunState::interrupted);

  std::filesystem::remove(runs.path("run") / "config.yaml");
  REQUIRE_THROWS_WITH(state_of(run), ContainsSubstring("holds checkpoints but no config.yaml"));
}

TEST_CASE("a run in hand is left alone, and told of as running", "[trainers][sweep]") {
  const TinyRuns runs;
  const SweepRun run{"run", {}, runs.config("run")};
  runs.train(run.config, false, 5);
  {
    const LmTrainer trainer(run.config, true);
    REQUIRE(state_of(run) == SweepRunState::running);
    REQUIRE(read_run(runs.path("run")).status_text() == "running, step 5 of 12");
    REQUIRE_THROWS_AS(LmTrainer(run.config, true), RunIsBusy);
    REQUIRE_THROWS_WITH(LmTrainer(run.config, true),
                        ContainsSubstring("is being trained by another process") &&
                            ContainsSubstring("choose another folder"));
  }
  REQUIRE(state_of(run) == SweepRunState::interrupted);
  runs.train(run.config, true);
  REQUIRE(state_of(run) == SweepRunState::finished);
}

TEST_CASE("a damaged sweep is read or refused, and never crashes", "[trainers][sweep][cpu]") {
  const SweepFile file;
  const std::string whole = R"(
set:
  training.steps: 7
runs:
  - name: one
    config: ../a.yaml
    set: {optimizer.lr: 1e-3}
  - config: ../lstm.yaml
grid:
  training.unroll: [64, 32]
)";
  const Damaged result = read_damaged(whole, 2, 2000, [&](const std::string& yaml) {
    INFO(yaml);
    file.load(yaml);
  });
  REQUIRE(result.read > 0);
  REQUIRE(result.refused > result.read);
}
