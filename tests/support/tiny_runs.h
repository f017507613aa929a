// Training runs of a few steps on a text of a thousand bytes.
#pragma once

#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "data/prepare.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"
#include "trainers/lm_trainer.h"
#include "trainers/metrics_log.h"

namespace rondo::testing {

// A run with everything that a resumed one must find again: both dropouts, attention memory, two
// accumulated segments a step, and epochs of five segments, so that steps straddle their ends.
class TinyRuns {
 public:
  TinyRuns() {
    std::string text;
    for (int i = 0; text.size() < 1000; ++i) {
      text += static_cast<char>('a' + i * i % 7);
    }
    write_bytes(folder_ / "text", text);
    prepare_text({folder_ / "text", folder_ / "corpus", ""});
  }

  Config config(const std::string& name) const {
    Config c;
    c.run.folder = (folder_ / name).string();
    c.run.threads = 1;
    c.run.device = test_device().str();
    c.data.corpus = (folder_ / "corpus").string();
    c.model.hidden_size = 6;
    c.model.projection_size = 4;
    c.model.num_layers = 2;
    c.model.dropout = 0.2;
    c.model.attention_dropout = 0.2;
    c.training = {12, 4, 50, 2, 1.0};
    c.optimizer.lr = 0.01;
    c.evaluation.every = 5;
    c.evaluation.test_at_end = false;
    c.checkpoint.every = 4;
    c.logging = {1, false};
    return c;
  }
  std::filesystem::path path(const std::string& name) const { return folder_ / name; }

  // Trains until `stop_after` steps are done in all.
  TrainingSummary train(const Config& c, bool resume = false,
                        std::int64_t stop_after = std::numeric_limits<std::int64_t>::max()) const {
    LmTrainer trainer(c, resume);
    TrainingObserver silent;
    return trainer.run(silent, [&] { return trainer.step() >= stop_after; });
  }

  std::string bytes(const std::string& run, const std::string& file) const {
    return read_bytes(folder_ / run / "checkpoints" / "last" / file);
  }
  void require_same(const std::string& a, const std::string& b) const {
    REQUIRE(bytes(a, "model.safetensors") == bytes(b, "model.safetensors"));
    REQUIRE(bytes(a, "training.safetensors") == bytes(b, "training.safetensors"));
  }

 private:
  TemporaryFolder folder_;
};

using Steps = std::vector<std::int64_t>;

// The steps of the records of one kind.
inline Steps steps_of(const std::vector<MetricsRecord>& records, std::string_view kind) {
  Steps steps;
  for (const MetricsRecord& record : records) {
    if (record.kind == kind) {
      steps.push_back(record.step);
    }
  }
  return steps;
}

// All that the checkpoint `which` of a run has learned: the bytes of its weights and training
// state.
inline std::string learning_of(const std::filesystem::path& run, const std::string& which) {
  const std::filesystem::path folder = run / "checkpoints" / which;
  return read_bytes(folder / "model.safetensors") + read_bytes(folder / "training.safetensors");
}

}  // namespace rondo::testing
