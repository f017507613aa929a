// The subcommands of `rondo`: each adds itself to the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rondo {

void add_train_command(CLI::App& app);
void add_eval_command(CLI::App& app);
void add_generate_command(CLI::App& app);
void add_bench_command(CLI::App& app);
void add_sweep_command(CLI::App& app);
void add_report_command(CLI::App& app);
void add_prepare_command(CLI::App& app);
void add_info_command(CLI::App& app);
void add_settings_command(CLI::App& app);

// Makes `app` expect one of its subcommands, and name one that it does not know.
void require_command(CLI::App& app);

// Whether `path` is named like a config; else it is a run folder, checkpoint or model file.
bool names_config(const std::string& path);

// For commands that take a config or something trained: --set and --vocabulary, for the config,
// whose published_vocabulary stands for an empty one.
void add_config_options(CLI::App& command, std::vector<std::string>& overrides,
                        std::optional<std::int64_t>& vocabulary);

// Accepts whole numbers from `least` that fit 64 bits.
CLI::Validator whole_number(std::int64_t least);

// A `--device` option: cpu, cuda or cuda:N.
void add_device_option(CLI::App& command, std::string& device);
// An `--threads` option, 0 for one per core.
void add_threads_option(CLI::App& command, int& threads);

}  // namespace rondo
