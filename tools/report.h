// Tables and pictures of training runs beside each other.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/table.h"
#include "trainers/line_plot.h"
#include "trainers/run_report.h"

namespace rondo {

// A row for every run: what it is, what it took and how good it is, beside what was published.
// Figures have their unit in the heading, or each its own where runs of bytes and of words meet.
std::vector<TableColumn> report_table(std::span<const RunReport> runs);

// The same and more for other programs: every figure in full, times in seconds, the columns always
// the same.
std::string report_csv(std::span<const RunReport> runs);

// Orders runs by "name", "test", "dev", "parameters", "tokens", "hours" or "speed"; numbers from
// the lowest, speed from the highest, runs without one last.
void sort_runs(std::vector<RunReport>& runs, std::string_view key);

// The figure on dev over "tokens", "hours" or "steps" of training, a line for every run. Throws
// Error when runs of bytes and of words are to stand on one axis, or when none was evaluated.
LinePlot dev_curves(std::span<const RunReport> runs, std::string_view x);

}  // namespace rondo
