// The subcommands of `rondo`: each adds itself to the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>

namespace rondo {

void add_train_command(CLI::App& app);
void add_eval_command(CLI::App& app);
void add_generate_command(CLI::App& app);
void add_bench_command(CLI::App& app);
void add_prepare_command(CLI::App& app);
void add_info_command(CLI::App& app);
void add_settings_command(CLI::App& app);

// Makes `app` expect one of its subcommands, and name one that it does not know.
void require_command(CLI::App& app);

// Accepts whole numbers from `least` that fit 64 bits.
CLI::Validator whole_number(std::int64_t least);

// An `--threads` option, 0 for one per core.
void add_threads_option(CLI::App& command, int& threads);

}  // namespace rondo
