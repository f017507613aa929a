// What the measurements of `rondo bench` share.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "trainers/config.h"

namespace rondo {

// Each adds a subcommand to `rondo bench`.
void add_bench_train(CLI::App& bench);
void add_bench_generate(CLI::App& bench);

// Rows of a report: a name and a value.
using ReportRows = std::vector<std::pair<std::string, std::string>>;

// What every measurement is told about where it ran: "device", "processor", "threads",
// "matmul_backend" and "precision".
nlohmann::ordered_json machine_json(const Config& config);
std::string machine_text(const Config& config);

// The options that all have: --threads and --json.
struct BenchOutput {
  std::optional<std::int64_t> threads;  // instead of run.threads
  std::string json;                     // a file, "-" for standard output, or empty for none

  bool json_only() const { return json == "-"; }
};
void add_output_options(CLI::App& command, BenchOutput& output);

// Shows the report, unless standard output is for the JSON alone, and writes the JSON where it was
// asked for.
void report_measurement(const BenchOutput& output, const std::string& heading,
                        const ReportRows& rows, const nlohmann::ordered_json& json);

}  // namespace rondo
