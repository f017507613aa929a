#include "trainers/run_recorder.h"

#include <algorithm>

#include "core/file.h"
#include "trainers/learning_curve.h"

namespace rondo {

RunRecorder::RunRecorder(const Config& config, const std::filesystem::path& folder,
                         std::int64_t step)
    : config_(config), folder_(folder), log_(folder / "metrics.jsonl", step) {
  if (config.logging.tensorboard) {
    tensorboard_.emplace(folder / "tensorboard", step);
  }
}

void RunRecorder::step(const StepReport& report, double seconds) {
  const bool due = report.step == 1 || report.step == config_.training.steps ||
                   report.step % config_.logging.every == 0;
  if (!due) {
    return;
  }
  MetricsRecord record{"train",
                       report.step,
                       {{"epoch", report.epoch},
                        {"nats_per_token", report.nats_per_token},
                        {"bpc", report.bits_per_character()},
                        {"lr", report.lr},
                        {"grad_norm", report.grad_norm},
                        {"tokens", report.tokens},
                        {"tokens_per_second", report.tokens_per_second},
                        {"seconds", seconds}}};
  const bool scaled = config_.training.precision == Precision::f16;
  if (scaled) {
    record.values.emplace_back("loss_scale", report.loss_scale);
    record.values.emplace_back("skipped_steps", report.skipped_steps);
  }
  log_.write(record);
  if (tensorboard_) {
    tensorboard_->scalar("train/bpc", report.bits_per_character(), report.step);
    tensorboard_->scalar("train/lr", report.lr, report.step);
    tensorboard_->scalar("train/grad_norm", report.grad_norm, report.step);
    tensorboard_->scalar("train/tokens_per_second", report.tokens_per_second, report.step);
    if (scaled) {
      tensorboard_->scalar("train/loss_scale", report.loss_scale, report.step);
    }
  }
}

void RunRecorder::write_evaluation(std::string_view kind, std::int64_t step,
                                   const EvaluationResult& result) {
  log_.write({std::string(kind),
              step,
              {{"bpc", result.bits_per_character()},
               {"nats_per_token", result.nats_per_token},
               {"tokens", result.tokens}}});
  if (tensorboard_) {
    tensorboard_->scalar(fmt::format("{}/bpc", kind), result.bits_per_character(), step);
  }
}

void RunRecorder::evaluation(const EvaluationReport& report) {
  write_evaluation(name(report.split), report.step, report.result);
}

void RunRecorder::final(const TrainingSummary& summary) {
  const std::int64_t step = summary.best_step.value_or(summary.steps);
  const std::vector<MetricsRecord> records = read_metrics(folder_ / "metrics.jsonl");
  const auto write_once = [&](std::string_view kind, const EvaluationResult& result) {
    // A finished run that is resumed comes to the same results again.
    const bool known = std::any_of(records.begin(), records.end(), [&](const MetricsRecord& r) {
      return r.kind == kind && r.step == step && r.number("bpc") == result.bits_per_character();
    });
    if (!known) {
      write_evaluation(kind, step, result);
    }
  };
  if (summary.dev) {
    write_once("final_dev", *summary.dev);
  }
  if (summary.test) {
    write_once("test", *summary.test);
  }
}

void RunRecorder::draw() const {
  const std::string title = folder_.filename().string();
  write_file_atomically(
      folder_ / "learning_curve.svg",
      draw_learning_curve(learning_curve(read_metrics(folder_ / "metrics.jsonl"), title)));
}

}  // namespace rondo
