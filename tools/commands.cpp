#include "tools/commands.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>

namespace rondo {

void require_command(CLI::App& app) {
  // With require_subcommand(1) a misspelt command would be called a missing one.
  app.require_subcommand(0, 1);
  app.callback([&app] {
    if (app.get_subcommands().empty()) {
      throw CLI::RequiredError("A command");
    }
  });
}

bool names_config(const std::string& path) {
  const std::string extension = std::filesystem::path(path).extension().string();
  return extension == ".yaml" || extension == ".yml";
}

void add_config_options(CLI::App& command, std::vector<std::string>& overrides,
                        std::optional<std::int64_t>& vocabulary) {
  command.add_option("--set", overrides, "With a config: change a setting")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      .add_option("--vocabulary", vocabulary,
                  "With a config: its size, instead of the config's published.vocabulary")
      ->check(whole_number(1));
}

CLI::Validator whole_number(std::int64_t least) {
  return {[least](const std::string& text) {
            std::int64_t value = 0;
            const char* const end = text.data() + text.size();
            const auto read = std::from_chars(text.data(), end, value);
            return read.ec == std::errc() && read.ptr == end && value >= least
                       ? std::string()
                       : fmt::format("expected a whole number from {}, found '{}'", least, text);
          },
          ""};
}

void add_device_option(CLI::App& command, std::string& device) {
  command.add_option("--device", device, "cpu, cuda or cuda:N")->capture_default_str();
}

void add_threads_option(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "CPU threads; 0: one per core")
      ->check(CLI::Range(0, 4096));
}

}  // namespace rondo
