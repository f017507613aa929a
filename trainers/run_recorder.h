// Writes what a run measures into its folder: metrics.jsonl, TensorBoard events and the learning
// curve.
#pragma once

#include <filesystem>
#include <optional>

#include "trainers/config.h"
#include "trainers/lm_trainer.h"
#include "trainers/metrics_log.h"
#include "trainers/tensorboard_writer.h"

namespace rondo {

class RunRecorder {
 public:
  // `step` is where the run stands: what was recorded of later steps is removed.
  RunRecorder(const Config& config, Metric metric, const std::filesystem::path& folder,
              std::int64_t step);

  // Records every logging.every-th step, and the first and last.
  void step(const StepReport& report, double seconds);
  void evaluation(const EvaluationReport& report);
  // The results of the best checkpoint on whole splits.
  void final(const TrainingSummary& summary);
  // Draws learning_curve.svg anew.
  void draw() const;

 private:
  void write_evaluation(std::string_view kind, const EvaluationReport& report);

  Config config_;
  Metric metric_;
  std::filesystem::path folder_;
  MetricsLog log_;
  std::optional<TensorBoardWriter> tensorboard_;
};

}  // namespace rondo
