// What is different about a run on a GPU: it goes ahead of what is read, it moves, and it may be
// short of memory.
#include <nlohmann/json.hpp>

#include "core/allocator.h"
#include "tests/support/tiny_runs.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

struct Witness : TrainingObserver {
  void on_step(const StepReport& report) override { reports.push_back(report); }
  Steps steps() const {
    Steps all;
    for (const StepReport& report : reports) {
      all.push_back(report.step);
    }
    return all;
  }
  std::vector<StepReport> reports;
};

nlohmann::json state_of(const std::filesystem::path& run) {
  return nlohmann::json::parse(load_checkpoint(run, CheckpointChoice::last).state_json.value());
}

// Takes nearly all memory of the device, and gives it back.
class Hoard {
 public:
  Hoard() {
    for (std::int64_t bytes = std::int64_t{1} << 38; bytes >= 512; bytes /= 2) {
      try {
        while (true) {
          held_.push_back(Tensor::empty({bytes}, DType::u8, test_device()));
        }
      } catch (const OutOfMemory&) {  // then less at a time
      }
    }
  }
  ~Hoard() {
    held_.clear();
    allocator(test_device()).trim();
  }
  Hoard(const Hoard&) = delete;
  Hoard& operator=(const Hoard&) = delete;

 private:
  std::vector<Tensor> held_;
};

}  // namespace

TEST_CASE("a run on a GPU is read where something is done with it", "[trainers][gpu]") {
  const TinyRuns runs;
  Config config = runs.config("read");
  config.logging.every = 6;  // evaluated at 5, 10, 12, saved at 4, 8, 12
  LmTrainer trainer(config, false);
  Witness witness;
  trainer.run(witness, [] { return false; });
  REQUIRE(witness.steps() == Steps{1, 4, 5, 6, 8, 10, 12});
  REQUIRE(steps_of(read_metrics(runs.path("read") / "metrics.jsonl"), "train") == Steps{1, 6, 12});
  for (const StepReport& report : witness.reports) {
    REQUIRE(report.tokens_per_second > 0.0);
  }
  // Reading changes nothing.
  runs.train(runs.config("read_always"));
  runs.require_same("read", "read_always");
}

TEST_CASE("a run astray is stopped as if every step had been read", "[trainers][gpu]") {
  const TinyRuns runs;
  const auto error = [&](std::int64_t logging_every) {
    const std::string name = fmt::format("every_{}", logging_every);
    Config config = runs.config(name);
    config.optimizer.type = OptimizerType::sgd;
    config.schedule.type = ScheduleType::constant;
    config.evaluation.every = 0;
    config.checkpoint.every = 0;
    config.training.clip_grad_norm = 0.0;
    config.optimizer.lr = 1e-3;
    runs.train(config, false, 2);
    const std::string saved = runs.bytes(name, "model.safetensors");
    config.optimizer.lr = 1e30;
    config.logging.every = logging_every;
    const std::string message = error_of([&] { runs.train(config, true); });
    REQUIRE(runs.bytes(name, "model.safetensors") == saved);
    return message.substr(0, message.find("the last good checkpoint"));
  };
  const std::string found = error(1);
  REQUIRE_THAT(found, ContainsSubstring("training stopped at step 4: the loss is"));
  REQUIRE(error(12) == found);
}

TEST_CASE("checkpoints move between the CPU and a GPU", "[trainers][gpu]") {
  const TinyRuns runs;
  const std::string gpu = test_device().str();
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    INFO(name(precision));
    const auto config_of = [&](const std::string& run, const std::string& device) {
      Config config = runs.config(fmt::format("{}_{}", run, name(precision)));
      config.run.device = device;
      config.training.precision = precision;
      return config;
    };
    runs.train(config_of("cpu", "cpu"));
    runs.train(config_of("moves", gpu), false, 5);
    runs.train(config_of("moves", "cpu"), true, 8);
    runs.train(config_of("moves", gpu), true);
    const auto file_of = [&](const std::string& run) {
      return load_checkpoint(runs.path(fmt::format("{}_{}", run, name(precision))),
                             CheckpointChoice::last)
          .model;
    };
    const SafetensorsFile still = file_of("cpu");
    const SafetensorsFile moved = file_of("moves");
    for (const std::string& tensor : still.names()) {
      INFO(tensor);
      REQUIRE(max_relative_error(moved.tensor(tensor), still.tensor(tensor)) <
              (precision == Precision::f32 ? 1e-4 : 0.03));
    }
    REQUIRE(state_of(runs.path(fmt::format("moves_{}", name(precision)))).at("optimizer_steps") ==
            12);
  }
}

TEST_CASE("a run resumed on a GPU ends with the same bytes in every precision",
          "[trainers][resume][gpu]") {
  const TinyRuns runs;
  for (const Precision precision : {Precision::bf16, Precision::tf32, Precision::f16}) {
    INFO(name(precision));
    const auto config_of = [&](const std::string& run) {
      Config config = runs.config(fmt::format("{}_{}", run, name(precision)));
      config.training.precision = precision;
      return config;
    };
    const std::string straight = fmt::format("straight_{}", name(precision));
    const std::string stopped = fmt::format("stopped_{}", name(precision));
    runs.train(config_of("straight"));
    for (const std::int64_t stop : {3, 7}) {
      runs.train(config_of("stopped"), stop > 3, stop);
    }
    runs.train(config_of("stopped"), true);
    runs.require_same(straight, stopped);
  }
}

TEST_CASE("f16 trains with a loss scale that is logged, saved and restored", "[trainers][gpu]") {
  const TinyRuns runs;
  Config config = runs.config("run");
  config.training.precision = Precision::f16;
  config.training.loss_scale = 1073741824.0;  // far too large: the first steps overflow
  runs.train(config, false, 6);
  const nlohmann::json state = state_of(runs.path("run"));
  const double scale = state.at("loss_scale");
  const std::int64_t skipped = state.at("skipped_steps");
  REQUIRE(skipped > 0);
  REQUIRE(scale == std::ldexp(1073741824.0, static_cast<int>(-skipped)));
  REQUIRE(state.at("optimizer_steps") == 6 - skipped);
  REQUIRE(state.at("step") == 6);
  const auto records = read_metrics(runs.path("run") / "metrics.jsonl");
  REQUIRE(records.back().kind == "train");
  REQUIRE(records.back().number("loss_scale") == scale);
  REQUIRE(records.back().number("skipped_steps") == skipped);

  config.training.loss_scale = 8.0;  // only a run's first
  LmTrainer trainer(config, true);
  Witness witness;
  trainer.run(witness, [&] { return trainer.step() >= 7; });
  REQUIRE(witness.reports.at(0).loss_scale <= scale);
  REQUIRE(witness.reports.at(0).loss_scale >= scale / 2);
  REQUIRE(witness.reports.at(0).skipped_steps >= skipped);
  const auto all = read_metrics(runs.path("run") / "metrics.jsonl");
  REQUIRE(all.back().kind == "train");
  REQUIRE(all.back().number("loss_scale") == witness.reports.at(0).loss_scale);
}

TEST_CASE("a GPU without memory says what to do and spoils nothing", "[trainers][gpu]") {
  const TinyRuns runs;
  const Config config = runs.config("run");
  runs.train(config, false, 4);
  const std::string saved = learning_of(runs.path("run"), "last");
  {
    const Hoard hoard;
    REQUIRE_THAT(
        error_of([&] { LmTrainer trainer(config, true); }),
        ContainsSubstring("out of memory on cuda:0") && ContainsSubstring("model.hidden_size"));
  }
  {
    LmTrainer trainer(config, true);
    const Hoard hoard;
    TrainingObserver silent;
    REQUIRE_THAT(error_of([&] { trainer.run(silent, [] { return false; }); }),
                 ContainsSubstring("training stopped after step 4: out of memory on cuda:0") &&
                     ContainsSubstring("in use") && ContainsSubstring("are free") &&
                     ContainsSubstring("lower training.batch_size or training.unroll, or set "
                                       "training.precision: bf16") &&
                     ContainsSubstring("the last good checkpoint is") &&
                     ContainsSubstring("step_00000004") && ContainsSubstring("--resume"));
  }
  REQUIRE(learning_of(runs.path("run"), "last") == saved);
  REQUIRE(runs.train(config, true).steps == 12);
}
