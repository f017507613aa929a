#include "trainers/run_report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>
#include <set>

#include "core/error.h"
#include "core/file.h"
#include "core/safetensors.h"
#include "trainers/checkpoint.h"
#include "trainers/config_yaml.h"
#include "trainers/metrics_log.h"
#include "trainers/run_lock.h"

namespace rondo {
namespace {

namespace fs = std::filesystem;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr std::string_view kConfigFile = "config.yaml";
constexpr std::string_view kMetricsFile = "metrics.jsonl";

bool is_there(const fs::path& path) {
  std::error_code code;
  return fs::exists(path, code);
}

bool is_run(const fs::path& folder) {
  return is_there(folder / kConfigFile) || is_there(folder / kMetricsFile);
}

// The value where it is one.
double known(double value, double otherwise) { return std::isnan(value) ? otherwise : value; }

double median(std::vector<double> values) {
  if (values.empty()) {
    return kNone;
  }
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

const DevPoint* lowest(const std::vector<DevPoint>& points) {
  const auto found =
      std::min_element(points.begin(), points.end(),
                       [](const DevPoint& a, const DevPoint& b) { return a.nats < b.nats; });
  return found == points.end() ? nullptr : &*found;
}

// What the records say that the status needs beyond the report.
struct Ending {
  std::optional<std::int64_t> tested;  // the step of the checkpoint that was
  bool diverged = false;
};

Ending read_records(RunReport& run, std::span<const MetricsRecord> records) {
  std::vector<double> rates;
  double final_dev = kNone;
  Ending ending;
  for (const MetricsRecord& record : records) {
    const double nats = record.number("nats_per_token");
    run.in_perplexity = run.in_perplexity || !std::isnan(record.number("ppl"));
    if (record.kind == "train") {
      run.tokens = known(record.number("tokens"), run.tokens);
      run.seconds = known(record.number("seconds"), run.seconds);
      // The first step makes kernels and takes memory.
      const double rate = record.number("tokens_per_second");
      if (record.step > 1 && !std::isnan(rate)) {
        rates.push_back(rate);
      }
    } else if (record.kind == "dev") {
      run.tokens = known(record.number("train_tokens"), run.tokens);
      run.seconds = known(record.number("seconds"), run.seconds);
      if (std::isfinite(nats)) {
        run.dev.push_back({record.step, run.tokens, run.seconds, nats});
      }
    } else if (record.kind == "final_dev") {
      final_dev = nats;
    } else if (record.kind == "test") {
      run.test = nats;
      ending.tested = record.step;
    }
    ending.diverged = ending.diverged || record.kind == "diverged";
    run.step = std::max(run.step, record.step);
  }
  run.tokens_per_second = median(std::move(rates));

  const DevPoint* best = lowest(run.dev);
  run.best_dev = known(final_dev, best != nullptr ? best->nats : kNone);
  return ending;
}

// Takes what the last checkpoint knows beyond the metrics, which are not of every step. Returns its
// step.
std::int64_t read_checkpoint(RunReport& run, const fs::path& checkpoint) {
  const SafetensorsFile model = SafetensorsFile::open(checkpoint / "model.safetensors");
  run.parameters = 0;
  for (const std::string& name : model.names()) {
    *run.parameters += model.tensor(name).numel();
  }
  const fs::path file = checkpoint / "state.json";
  try {
    const nlohmann::json state = nlohmann::json::parse(read_file(file)).at("state");
    const auto step = state.at("step").get<std::int64_t>();
    if (step >= run.step) {
      run.step = step;
      run.tokens = state.at("tokens");
      run.seconds = state.at("seconds");
    }
    return step;
  } catch (const nlohmann::json::exception& problem) {
    fail("{} is damaged: {}", file.string(), problem.what());
  }
}

RunStatus status_of(const RunReport& run, std::int64_t saved_step, const Ending& ending) {
  if (is_training(run.folder)) {
    return RunStatus::running;
  }
  if (ending.diverged) {
    return RunStatus::diverged;
  }
  // A run that was made longer has the results of its former end until it comes to the new one.
  const DevPoint* best = lowest(run.dev);
  const bool test_is_there = ending.tested && (best == nullptr || *ending.tested == best->step);
  const bool is_finished = saved_step >= run.config.training.steps &&
                           (test_is_there || !run.config.evaluation.test_at_end);
  return is_finished ? RunStatus::finished : RunStatus::stopped;
}

// The runs inside `folder`, with their names.
void find_runs(const fs::path& folder, const std::string& name,
               std::vector<std::pair<std::string, fs::path>>& found) {
  if (is_run(folder)) {
    found.emplace_back(name, folder);
    return;
  }
  std::vector<fs::path> inside;
  std::error_code code;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, code)) {
    std::error_code ignored;
    if (entry.is_directory(ignored) && !entry.is_symlink(ignored)) {
      inside.push_back(entry.path());
    }
  }
  check(!code, "cannot read the folder {}: {}", folder.string(), code.message());
  std::sort(inside.begin(), inside.end(), [](const fs::path& a, const fs::path& b) {
    return name_less(a.filename().string(), b.filename().string());
  });
  for (const fs::path& path : inside) {
    const std::string own = path.filename().string();
    find_runs(path, name.empty() ? own : name + "/" + own, found);
  }
}

std::string folder_name(const fs::path& folder) {
  const fs::path normal = fs::absolute(folder).lexically_normal();
  return (normal.has_filename() ? normal : normal.parent_path()).filename().string();
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The digits at the start of `text`, without leading zeros; `text` goes on behind them.
std::string_view take_number(std::string_view& text) {
  std::size_t end = 0;
  while (end < text.size() && is_digit(text[end])) {
    ++end;
  }
  std::string_view digits = text.substr(0, end);
  text.remove_prefix(end);
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  return digits;
}

}  // namespace

std::string_view name(RunStatus status) {
  switch (status) {
    case RunStatus::finished:
      return "finished";
    case RunStatus::stopped:
      return "stopped";
    case RunStatus::running:
      return "running";
    case RunStatus::diverged:
      return "diverged";
  }
  return "";
}

double RunReport::figure(double nats) const {
  return in_perplexity ? std::exp(nats) : nats / std::numbers::ln2;
}

std::string RunReport::status_text() const {
  switch (status) {
    case RunStatus::finished:
      return "finished";
    case RunStatus::diverged:
      return fmt::format("diverged at step {}", step);
    case RunStatus::stopped:
    case RunStatus::running:
      break;
  }
  return fmt::format("{}step {} of {}", status == RunStatus::running ? "running, " : "", step,
                     config.training.steps);
}

RunReport read_run(const fs::path& folder) {
  for (const std::string_view file : {kConfigFile, kMetricsFile}) {
    check(is_there(folder / file), "{} has no {}: not a run, or one that has not begun",
          folder.string(), file);
  }
  RunReport run;
  run.name = folder_name(folder);
  run.folder = folder;
  run.best_dev = kNone;
  run.test = kNone;
  const fs::path config = folder / kConfigFile;
  run.config = parse_config(read_file(config), config.string());

  const std::vector<MetricsRecord> records = read_metrics(folder / kMetricsFile);
  check(!records.empty(), "{} is empty: nothing was measured yet",
        (folder / kMetricsFile).string());
  const Ending ending = read_records(run, records);
  const auto checkpoint = CheckpointFolder(folder / "checkpoints").last();
  const std::int64_t saved_step = checkpoint ? read_checkpoint(run, *checkpoint) : run.step;
  run.status = status_of(run, saved_step, ending);
  return run;
}

RunReports read_runs(std::span<const fs::path> paths) {
  RunReports reports;
  std::set<fs::path> seen;
  for (const fs::path& path : paths) {
    std::error_code code;
    check(fs::is_directory(path, code), "{}: there is no such folder; check the path",
          path.string());
    std::vector<std::pair<std::string, fs::path>> found;
    find_runs(path, "", found);
    check(!found.empty(), "{} holds no run: expected a folder with {} and {}, or folders like that",
          path.string(), kConfigFile, kMetricsFile);
    for (const auto& [name, folder] : found) {
      if (!seen.insert(fs::weakly_canonical(folder)).second) {
        continue;
      }
      try {
        reports.runs.push_back(read_run(folder));
        if (!name.empty()) {
          reports.runs.back().name = name;
        }
      } catch (const Error& problem) {
        reports.unread.push_back({folder, problem.what()});
      }
    }
  }
  return reports;
}

bool name_less(std::string_view a, std::string_view b) {
  while (!a.empty() && !b.empty()) {
    if (is_digit(a.front()) && is_digit(b.front())) {
      const std::string_view x = take_number(a);
      const std::string_view y = take_number(b);
      if (x != y) {
        return x.size() != y.size() ? x.size() < y.size() : x < y;
      }
    } else if (a.front() != b.front()) {
      return a.front() < b.front();
    } else {
      a.remove_prefix(1);
      b.remove_prefix(1);
    }
  }
  return a.size() < b.size();
}

}  // namespace rondo
