// What a run folder tells of its run: how far it came, what it took, and how good the model is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trainers/config.h"

namespace rondo {

// An evaluation on dev on the way.
struct DevPoint {
  std::int64_t step = 0;
  double tokens = 0.0;   // predictions trained on until then
  double seconds = 0.0;  // of training and evaluation until then
  double nats = 0.0;     // per token
};

enum class RunStatus {
  finished,  // all steps are done and, with evaluation.test_at_end, the test result is there
  stopped,
  running,   // a trainer has it in hand
  diverged,  // its numbers were no longer finite
};

// "finished", "stopped", "running" or "diverged"
std::string_view name(RunStatus status);

struct RunReport {
  std::string name;  // of its folder
  std::filesystem::path folder;
  Config config;
  RunStatus status = RunStatus::stopped;
  std::int64_t step = 0;       // the last of which the folder knows
  bool in_perplexity = false;  // figures are perplexity, not bits per character

  std::optional<std::int64_t> parameters;  // nothing without a checkpoint
  double tokens = 0.0;                     // predictions trained on
  double seconds = 0.0;                    // of training and evaluation
  double tokens_per_second = 0.0;          // the median of training; NaN when nothing was recorded
  std::vector<DevPoint> dev;               // in the order of steps
  // Of the best checkpoint, in nats per token: on the whole of dev (the lowest of the evaluations
  // on the way while that was not measured), and on test. NaN when there is none.
  double best_dev = 0.0;
  double test = 0.0;

  // Nats per token as the run's figure: bits per character or perplexity. NaN stays NaN.
  double figure(double nats) const;
  // "BPC" or "ppl"
  std::string_view unit() const { return in_perplexity ? "ppl" : "BPC"; }
  // "finished", "step 120 of 400", "running, step 120 of 400", "diverged at step 120"
  std::string status_text() const;
};

// Reads a run from its config.yaml and metrics.jsonl, and from its last checkpoint if there is one.
// Throws Error naming the file when one of the two is missing or damaged, or when nothing was
// measured yet.
RunReport read_run(const std::filesystem::path& folder);

struct UnreadRun {
  std::filesystem::path folder;
  std::string problem;
};

struct RunReports {
  std::vector<RunReport> runs;
  std::vector<UnreadRun> unread;  // folders that look like a run and could not be read
};

// The runs of all `paths`: a run folder (one with config.yaml or metrics.jsonl), or a folder that
// holds such folders, at any depth, in the order of their names, numbers by their value. Runs
// inside a folder are named by the path from there. A run found twice is taken once. Throws Error
// for a path that is no folder, or holds no run.
RunReports read_runs(std::span<const std::filesystem::path> paths);

// Whether `a` comes before `b` in an order of names that compares the numbers in them by value:
// "layers=2" before "layers=10".
bool name_less(std::string_view a, std::string_view b);

}  // namespace rondo
