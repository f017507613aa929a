#include "tools/commands.h"

#include <fmt/format.h>

#include <charconv>

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

void add_threads_option(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "CPU threads; 0: one per core")->check(whole_number(0));
}

}  // namespace rondo
