#include "trainers/run_report.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "tests/support/damage.h"
#include "tests/support/tiny_runs.h"
#include "trainers/config_yaml.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// A run folder as the trainer leaves it, without checkpoints.
void write_run(const std::filesystem::path& folder, const Config& config,
               std::string_view metrics) {
  std::filesystem::create_directories(folder);
  write_bytes(folder / "config.yaml", dump_config(config));
  write_bytes(folder / "metrics.jsonl", metrics);
}

Config steps(std::int64_t count, bool test_at_end) {
  Config config;
  config.model.projection_size = 4;
  config.training.steps = count;
  config.evaluation.test_at_end = test_at_end;
  return config;
}

constexpr std::string_view kTrain =
    R"({"kind":"train","step":1,"nats_per_token":4.0,"tokens":10,"tokens_per_second":1.0,"seconds":2.0}
{"kind":"train","step":2,"nats_per_token":3.0,"tokens":20,"tokens_per_second":5.0,"seconds":4.0}
{"kind":"dev","step":2,"bpc":4.3,"nats_per_token":3.0,"tokens":7}
{"kind":"train","step":3,"nats_per_token":2.0,"tokens":30,"tokens_per_second":6.0,"seconds":7.0}
{"kind":"train","step":4,"nats_per_token":2.0,"tokens":40,"tokens_per_second":9.0,"seconds":9.0}
{"kind":"dev","step":4,"bpc":2.9,"nats_per_token":2.0,"tokens":7,"seconds":11.5,"train_tokens":44}
)";

std::string failure_of(const std::filesystem::path& folder) {
  try {
    read_run(folder);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("a run is read from its metrics", "[trainers][run_report][cpu]") {
  const TemporaryFolder folder;
  write_run(folder / "a", steps(4, false), kTrain);
  const RunReport run = read_run(folder / "a");
  REQUIRE(run.name == "a");
  REQUIRE(run.status == RunStatus::finished);
  REQUIRE(run.status_text() == "finished");
  REQUIRE_FALSE(run.parameters);
  REQUIRE(run.step == 4);
  REQUIRE(run.tokens == 44);
  REQUIRE(run.seconds == 11.5);
  REQUIRE(run.tokens_per_second == 6.0);  // the first step does not count
  // What a record of dev does not say itself is that of the step before.
  REQUIRE(run.dev.size() == 2);
  REQUIRE(run.dev[0].step == 2);
  REQUIRE(run.dev[0].tokens == 20);
  REQUIRE(run.dev[0].seconds == 4.0);
  REQUIRE(run.dev[1].tokens == 44);
  REQUIRE(run.best_dev == 2.0);
  REQUIRE(std::isnan(run.test));
  REQUIRE(run.unit() == "BPC");
  REQUIRE(run.figure(std::log(8.0)) == Approx(3.0));
}

TEST_CASE("words are counted in perplexity", "[trainers][run_report][cpu]") {
  const TemporaryFolder folder;
  write_run(folder / "a", steps(2, false),
            "{\"kind\":\"dev\",\"step\":2,\"ppl\":8.0,\"nats_per_token\":2.0}\n");
  const RunReport run = read_run(folder / "a");
  REQUIRE(run.unit() == "ppl");
  REQUIRE(run.figure(std::log(8.0)) == Approx(8.0));
}

TEST_CASE("a run is finished with its last step and its test result",
          "[trainers][run_report][cpu]") {
  const TemporaryFolder folder;
  const std::string train(kTrain);
  const auto status = [&](std::int64_t total, const std::string& more) {
    write_run(folder / "a", steps(total, true), train + more);
    return read_run(folder / "a").status_text();
  };
  const std::string ends =
      "{\"kind\":\"final_dev\",\"step\":4,\"bpc\":3.0,\"nats_per_token\":2.1}\n"
      "{\"kind\":\"test\",\"step\":4,\"bpc\":3.1,\"nats_per_token\":2.2}\n";
  REQUIRE(status(4, "") == "step 4 of 4");
  REQUIRE(status(4, ends) == "finished");
  REQUIRE(read_run(folder / "a").best_dev == 2.1);
  REQUIRE(read_run(folder / "a").test == 2.2);
  REQUIRE(status(9, ends) == "step 4 of 9");
  // Made longer, and better since, but not tested again.
  REQUIRE(status(6, ends + "{\"kind\":\"train\",\"step\":6,\"tokens\":60,\"seconds\":12.0}\n"
                           "{\"kind\":\"dev\",\"step\":6,\"nats_per_token\":1.5}\n") ==
          "step 6 of 6");
  REQUIRE(status(9, "{\"kind\":\"diverged\",\"step\":5,\"what\":\"the loss is nan\"}\n") ==
          "diverged at step 5");
}

TEST_CASE("the checkpoint says what the metrics do not", "[trainers][run_report]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  config.logging.every = 5;
  const TrainingSummary stopped = runs.train(config, false, 7);
  const RunReport run = read_run(runs.path("run"));
  REQUIRE(run.status_text() == "step 7 of 12");
  REQUIRE(run.parameters == stopped.parameters);
  REQUIRE(run.tokens == static_cast<double>(stopped.tokens));
  REQUIRE(run.seconds > 0.0);

  const TrainingSummary whole = runs.train(config, true);
  const RunReport finished = read_run(runs.path("run"));
  REQUIRE(finished.status == RunStatus::finished);
  REQUIRE(finished.figure(finished.best_dev) ==
          Approx(in_metric(Metric::bits_per_character, *whole.best_dev_nats)));
  REQUIRE(finished.config == config);
}

TEST_CASE("a run that diverges leaves word of it until it is resumed", "[trainers][run_report]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  config.evaluation.every = 0;
  config.checkpoint.every = 0;
  runs.train(config, false, 3);  // saved, and nothing after it
  config.optimizer.lr = 1e30;
  REQUIRE_THROWS_AS(runs.train(config, true), Error);
  const RunReport run = read_run(runs.path("run"));
  REQUIRE(run.status == RunStatus::diverged);
  REQUIRE_THAT(run.status_text(), ContainsSubstring("diverged at step "));
  config.optimizer.lr = 0.01;
  runs.train(config, true);
  REQUIRE(read_run(runs.path("run")).status == RunStatus::finished);
}

TEST_CASE("what is no run is named", "[trainers][run_report][cpu]") {
  const TemporaryFolder folder;
  const auto has = [](const std::string& text) { return ContainsSubstring(text); };
  std::filesystem::create_directory(folder / "a");
  REQUIRE_THAT(failure_of(folder / "a"), has("/a has no config.yaml"));
  write_bytes(folder / "a" / "config.yaml", dump_config(steps(4, true)));
  REQUIRE_THAT(failure_of(folder / "a"), has("/a has no metrics.jsonl"));
  write_bytes(folder / "a" / "metrics.jsonl", "");
  REQUIRE_THAT(failure_of(folder / "a"), has("metrics.jsonl is empty"));
  write_bytes(folder / "a" / "metrics.jsonl", "nonsense\n" + std::string(kTrain));
  REQUIRE_THAT(failure_of(folder / "a"), has("metrics.jsonl line 1") && has("nonsense"));
  write_run(folder / "a", steps(4, true), kTrain);
  write_bytes(folder / "a" / "config.yaml", "training: {stepz: 4}\n");
  REQUIRE_THAT(failure_of(folder / "a"), has("config.yaml:1: training.stepz is not a setting"));
}

TEST_CASE("folders stand for the runs in them", "[trainers][run_report][cpu]") {
  const TemporaryFolder folder;
  for (const char* name : {"all/sweep/layers=10", "all/sweep/layers=2", "all/alone"}) {
    write_run(folder / name, steps(4, false), kTrain);
  }
  std::filesystem::create_directories(folder / "all/notes");
  write_run(folder / "all/broken", steps(4, false), "nonsense\n");
  const auto names = [](const RunReports& reports) {
    std::vector<std::string> all;
    for (const RunReport& run : reports.runs) {
      all.push_back(run.name);
    }
    return all;
  };
  const std::vector<std::filesystem::path> paths{folder / "all/sweep/layers=10", folder / "all"};
  const RunReports reports = read_runs(paths);
  REQUIRE(names(reports) == std::vector<std::string>{"layers=10", "alone", "sweep/layers=2"});
  REQUIRE(reports.unread.size() == 1);
  REQUIRE(reports.unread[0].folder == folder / "all/broken");
  REQUIRE_THAT(reports.unread[0].problem, ContainsSubstring("nonsense"));

  const std::vector<std::filesystem::path> nothing{folder / "all/notes"};
  REQUIRE_THROWS_WITH(read_runs(nothing), ContainsSubstring("notes holds no run"));
  const std::vector<std::filesystem::path> missing{folder / "none"};
  REQUIRE_THROWS_WITH(read_runs(missing), ContainsSubstring("none: there is no such folder"));
}

TEST_CASE("numbers in names are ordered by their value", "[trainers][run_report][cpu]") {
  std::vector<std::string> names{"b2", "a10", "a", "a9b", "a9", "a010", "b"};
  std::stable_sort(names.begin(), names.end(),
                   [](const std::string& a, const std::string& b) { return name_less(a, b); });
  REQUIRE(names == std::vector<std::string>{"a", "a9", "a9b", "a10", "a010", "b", "b2"});
}

TEST_CASE("the metrics of a run may be damaged", "[trainers][run_report][cpu]") {
  const TemporaryFolder folder;
  const Damaged result =
      read_damaged(std::string(kTrain), 3, 1000, [&](const std::string& metrics) {
        INFO(metrics);
        write_run(folder / "run", steps(4, false), metrics);
        read_run(folder / "run");
      });
  REQUIRE(result.read > 0);
  REQUIRE(result.refused > 0);
}
