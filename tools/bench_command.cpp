#include <iostream>

#include "core/cuda.h"
#include "core/file.h"
#include "core/parallel.h"
#include "ops/linear.h"
#include "tools/bench.h"
#include "tools/commands.h"
#include "tools/format.h"
#include "tools/progress.h"
#include "trainers/machine_limits.h"

namespace rondo {

void add_bench_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "bench", "Measure speed and memory beside what the machine can do at best");
  require_command(*command);
  command->footer(R"(Examples:
  rondo bench train configs/quickstart.yaml
  rondo bench train configs/quickstart.yaml --threads 1 --json train.json
  rondo bench generate configs/quickstart.yaml --streams 8)");
  add_bench_train(*command);
  add_bench_generate(*command);
}

nlohmann::ordered_json machine_json(const Config& config) {
  const Device device = Device::parse(config.run.device);
  nlohmann::ordered_json json{{"device", device.str()}};
  if constexpr (kWithCuda) {
    if (device.is_cuda()) {
      json["gpu"] = device_name(device);
      json["gpu_memory_bytes"] = cuda::properties(device.index).memory_bytes;
    }
  }
  json.update({{"processor", processor_name()},
               {"threads", num_threads()},
               {"matmul_backend", matmul_backend(device)},
               {"precision", name(config.training.precision)}});
  return json;
}

std::string machine_text(const Config& config) {
  const Device device = Device::parse(config.run.device);
  return fmt::format("{}, {}, {}, {}, {}", device.str(), device_name(device), threads_text(),
                     matmul_backend(device), name(config.training.precision));
}

void add_output_options(CLI::App& command, BenchOutput& output) {
  command
      .add_option("--threads", output.threads, "CPU threads, instead of run.threads; 0: one a core")
      ->check(whole_number(0));
  command.add_option("--json", output.json, "Also write all figures to this file; '-': only them")
      ->type_name("FILE");
}

void report_measurement(const BenchOutput& output, const std::string& heading,
                        const ReportRows& rows, const nlohmann::ordered_json& json) {
  const std::string text = json.dump(2) + "\n";
  if (output.json_only()) {
    fmt::print("{}", text);
    return;
  }
  // Shown first: a file that cannot be written must not cost what was measured.
  ProgressDisplay(std::cout, detect_terminal(1)).print_summary(heading, rows);
  if (!output.json.empty()) {
    write_file_atomically(output.json, text);
  }
}

}  // namespace rondo
