// `rondo sweep`, from its file to the folders of its runs.
#include <csignal>
#include <filesystem>

#include "tests/support/program.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// A corpus, a config and a sweep over it.
struct SweepPlace : Workplace {
  explicit SweepPlace(const std::string& grid = "  optimizer.lr: [1e-3, 2e-3]\n") {
    write_bytes(folder / "lr.yaml",
                "config: tiny.yaml\n"
                "set: {sample.length: 0, evaluation.test_at_end: false}\n"
                "grid:\n" +
                    grid);
  }

  Words sweep(const Words& more = {}) const {
    Words words{"sweep", path("lr.yaml"), "--folder", path("runs")};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::string weights(const std::string& run) const { return last("runs/" + run); }
};

}  // namespace

TEST_CASE("a sweep trains its runs, each as rondo train would", "[tools][cli]") {
  const SweepPlace place;
  const std::string plan = output_of(place.sweep({"--dry-run"}));
  REQUIRE_THAT(plan, ContainsSubstring("lr: 2 runs in") && ContainsSubstring("lr=1e-3") &&
                         ContainsSubstring("to do") && ContainsSubstring("optimizer.lr=2e-3") &&
                         ContainsSubstring("sample.length=0"));
  REQUIRE_FALSE(std::filesystem::exists(place.folder / "runs"));

  const std::string out = output_of(place.sweep());
  REQUIRE_THAT(out, ContainsSubstring("[1/2] lr=1e-3") && ContainsSubstring("[2/2] lr=2e-3") &&
                        ContainsSubstring("\nrun      parameters") &&
                        ContainsSubstring("finished"));
  place.train({"--set", "optimizer.lr=2e-3"});
  REQUIRE(place.weights("lr=2e-3") == place.last("run"));

  // Again: nothing is left to do.
  const std::string before = read_bytes(place.folder / "runs/lr=1e-3/metrics.jsonl");
  const std::string again = output_of(place.sweep());
  REQUIRE_THAT(
      again, ContainsSubstring("[1/2] lr=1e-3: finished before") && !ContainsSubstring("step 8/8"));
  REQUIRE(read_bytes(place.folder / "runs/lr=1e-3/metrics.jsonl") == before);
  REQUIRE_THAT(output_of(place.sweep({"--dry-run"})), ContainsSubstring("finished"));

  // Other settings are other runs.
  REQUIRE_THAT(
      failure_of(place.sweep({"--set", "training.steps=9"})),
      ContainsSubstring("training.steps is 8 there and 9 here") && ContainsSubstring("--folder"));
  REQUIRE(read_bytes(place.folder / "runs/lr=1e-3/metrics.jsonl") == before);
}

TEST_CASE("a sweep that was stopped goes on to the same end", "[tools][cli]") {
  const SweepPlace place;
  const Words settings{"--set", "training.steps=3000", "--set", "evaluation.every=1000"};
  Words words = place.sweep(settings);
  words.insert(words.begin(), RONDO_BINARY);
  Process process(words);
  REQUIRE(process.wait_for("[2/2] lr=2e-3\nstep 1/"));
  process.signal(SIGTERM);
  const ProcessResult stopped = process.finish();
  require_orderly(stopped, SIGTERM);
  INFO(stopped.out << stopped.err);
  REQUIRE(stopped.exit_code == 128 + SIGTERM);
  REQUIRE_THAT(stopped.out, ContainsSubstring("everything is saved") &&
                                ContainsSubstring("of 3000") && ContainsSubstring("goes on"));
  const std::string out = output_of(place.sweep(settings));
  REQUIRE_THAT(out, ContainsSubstring("[1/2] lr=1e-3: finished before") &&
                        ContainsSubstring("[2/2] lr=2e-3, resumed"));
  place.train({"--set", "optimizer.lr=2e-3", "--set", "training.steps=3000", "--set",
               "evaluation.every=1000"});
  REQUIRE(place.weights("lr=2e-3") == place.last("run"));
}

TEST_CASE("a sweep given twice shares its runs", "[tools][cli]") {
  const SweepPlace place;
  const Words settings{"--set", "training.steps=20000", "--set", "evaluation.every=20000"};
  Words words = place.sweep(settings);
  words.insert(words.begin(), RONDO_BINARY);
  Process first(words);
  REQUIRE(first.wait_for("[1/2] lr=1e-3\nstep 1/"));
  Process second(words);
  REQUIRE(
      second.wait_for("[1/2] lr=1e-3: left to the process that trains it\n[2/2] lr=2e-3\nstep 1/"));
  REQUIRE_THAT(
      output_of(place.sweep({"--dry-run", settings[0], settings[1], settings[2], settings[3]})),
      ContainsSubstring("running"));
  REQUIRE_THAT(failure_of({"train", place.path("tiny.yaml"), "--resume", "--set",
                           "run.folder=" + place.path("runs/lr=1e-3")}),
               ContainsSubstring("is being trained by another process"));
  for (Process* process : {&first, &second}) {
    process->signal(SIGTERM);
    const ProcessResult result = process->finish();
    INFO(result.out << result.err);
    REQUIRE(result.exit_code == 128 + SIGTERM);
  }
}

TEST_CASE("a run that fails does not stop a sweep", "[tools][cli]") {
  const SweepPlace place("  optimizer.lr: [1e30, 1e-3]\n");
  const ProcessResult first = rondo_does(place.sweep());
  INFO(first.out << first.err);
  REQUIRE(first.exit_code == 1);
  REQUIRE_THAT(first.out, ContainsSubstring("failed: training stopped at step") &&
                              ContainsSubstring("diverged at step") &&
                              ContainsSubstring("finished"));
  REQUIRE_THAT(first.err, ContainsSubstring("1 of 2 runs failed: lr=1e30"));
  const ProcessResult second = rondo_does(place.sweep());
  REQUIRE(second.exit_code == 1);
  REQUIRE_THAT(second.out, ContainsSubstring("lr=1e30: diverged before; remove") &&
                               ContainsSubstring("lr=1e-3: finished before"));
}

TEST_CASE("a sweep that cannot be run is explained", "[tools][cli]") {
  const SweepPlace place("  optimizer.lrr: [1e-3]\n");
  REQUIRE_THAT(failure_of(place.sweep()),
               ContainsSubstring("lr.yaml:4: optimizer.lrr is not a setting"));
  REQUIRE_THAT(failure_of({"sweep", place.path("none.yaml")}),
               ContainsSubstring("none.yaml") && ContainsSubstring("check the path"));
  REQUIRE_FALSE(std::filesystem::exists(place.folder / "runs"));
}
