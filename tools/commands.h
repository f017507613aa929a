// The subcommands of `rondo`: each adds itself to the command line.
#pragma once

#include <CLI/CLI.hpp>

namespace rondo {

void add_train_command(CLI::App& app);
void add_eval_command(CLI::App& app);
void add_generate_command(CLI::App& app);
void add_prepare_command(CLI::App& app);
void add_info_command(CLI::App& app);
void add_settings_command(CLI::App& app);

// An `--threads` option, 0 for one per core.
void add_threads_option(CLI::App& command, int& threads);

}  // namespace rondo
