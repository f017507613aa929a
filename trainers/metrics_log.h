// metrics.jsonl: what a training run measured, one JSON object a line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/file.h"

namespace rondo {

using MetricValue = std::variant<std::int64_t, double, std::string>;

// One line of the log: {"kind": "train", "step": 10, "bpc": 4.25, ...}.
struct MetricsRecord {
  std::string kind;       // "train", "dev" or "test"
  std::int64_t step = 0;  // optimizer steps done
  // The other fields in their order. Numbers that are not finite are kept as null, and read as NaN.
  std::vector<std::pair<std::string, MetricValue>> values;

  // The number called `name`; NaN when there is none.
  double number(std::string_view name) const;
};

// An open log that records are added to.
class MetricsLog {
 public:
  // Opens the log of a run that stands at `step`, 0 at the start: what an interrupted run wrote of
  // later steps is removed (truncate_after), so that the log holds each step once. Throws Error
  // when the file cannot be read or written.
  explicit MetricsLog(const std::filesystem::path& path, std::int64_t step = 0);

  // Adds a line, which the system has when this returns. Throws Error when it cannot be written.
  void write(const MetricsRecord& record);

 private:
  FileWriter file_;
};

// Removes the records of steps after `step`, and a last line that was cut off while it was written;
// the other lines stay as they are. The file is replaced as a whole or not at all; a missing one is
// left missing. Throws Error naming the line when another line is damaged.
void truncate_after(const std::filesystem::path& path, std::int64_t step);

// All records in the order of the file. A last line that was cut off is left out; throws Error
// naming the line when another one is damaged, or when the file cannot be read.
std::vector<MetricsRecord> read_metrics(const std::filesystem::path& path);

}  // namespace rondo
