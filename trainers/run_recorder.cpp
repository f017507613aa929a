#include "trainers/run_recorder.h"

#include <algorithm>

#include "core/file.h"
#include "trainers/learning_curve.h"

namespace rondo {

RunRecorder::RunRecorder(const Config& config, Metric metric, const std::filesystem::path& folder,
                         std::int64_t step)
    : config_(config), metric_(metric), folder_(folder), log_(folder / "metrics.jsonl", step) {
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
                        {std::string(key(metric_)), in_metric(metric_, report.nats_per_token)},
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
    tensorboard_->scalar(fmt::format("train/{}", key(metric_)),
                         in_metric(metric_, report.nats_per_token), report.step);
    tensorboard_->scalar("train/lr", report.lr, report.step);
    tensorboard_->scalar("train/grad_norm", report.grad_norm, report.step);
    tensorboard_->scalar("train/tokens_per_second", report.tokens_per_second, report.step);
    if (scaled) {
      tensorboard_->scalar("train/loss_scale", report.loss_scale, report.step);
    }
  }
}

void RunRecorder::write_evaluation(std::string_view kind, const EvaluationReport& report) {
  const EvaluationResult& result = report.result;
  const double figure = in_metric(metric_, result.nats_per_token);
  MetricsRecord record{std::string(kind),
                       report.step,
                       {{std::string(key(metric_)), figure},
                        {"nats_per_token", result.nats_per_token},
                        {"tokens", result.tokens}}};
  if (report.train_tokens > 0) {
    record.values.emplace_back("train_tokens", report.train_tokens);
    record.values.emplace_back("seconds", report.seconds);
  }
  log_.write(record);
  if (tensorboard_) {
    tensorboard_->scalar(fmt::format("{}/{}", kind, key(metric_)), figure, report.step);
  }
}

void RunRecorder::evaluation(const EvaluationReport& report) {
  write_evaluation(name(report.split), report);
}

void RunRecorder::final(const TrainingSummary& summary) {
  const std::int64_t step = summary.best_step.value_or(summary.steps);
  const std::vector<MetricsRecord> records = read_metrics(folder_ / "metrics.jsonl");
  const auto write_once = [&](std::string_view kind, const EvaluationResult& result) {
    // A finished run that is resumed comes to the same results again.
    const bool known = std::any_of(records.begin(), records.end(), [&](const MetricsRecord& r) {
      return r.kind == kind && r.step == step &&
             r.number("nats_per_token") == result.nats_per_token;
    });
    if (!known) {
      EvaluationReport report;
      report.step = step;
      report.result = result;
      write_evaluation(kind, report);
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
