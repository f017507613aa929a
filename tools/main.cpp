// `rondo`: trains, evaluates and samples recurrent-attention language models.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>

#include <poll.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"
#include "core/parallel.h"
#include "ops/linear.h"
#include "tools/commands.h"

namespace {

constexpr const char* kFooter = R"(Start here:
  rondo train configs/quickstart.yaml
  rondo generate runs/quickstart --prompt "#include"

Every command explains itself: rondo train --help)";

// Writes that fail say so as errors instead of ending the program without a word: a file beyond the
// size limit, and a reader of our output that has gone away (`rondo generate ... | head`). The
// latter does not stop a training run.
void ignore_write_signals() {
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
}

// Whether standard output is a pipe whose reader has gone away.
bool nobody_reads() {
  pollfd output{STDOUT_FILENO, 0, 0};
  return ::poll(&output, 1, 0) == 1 && (output.revents & POLLERR) != 0;
}

// What is still buffered goes out now, where a failure can be told; one on the way, which did not
// stop a training run, is told as well.
void flush_output() {
  if (std::fflush(stdout) != 0) {
    throw std::system_error(errno, std::generic_category(), "cannot write the output");
  }
  rondo::check(std::ferror(stdout) == 0 || nobody_reads(),
               "some of the output could not be written; look for room where it goes");
}

// Through stdio, which does not throw: nobody may be left to read it.
void print_error(std::string_view message) {
  const std::string line = fmt::format("rondo: {}\n", message);
  std::fputs(line.c_str(), stderr);
}

int run(int argc, char** argv) {
  rondo::configure_log();
  rondo::flush_denormals();
  CLI::App app{"Rondo: SRU, projected SRU and SRU++ language models", "rondo"};
  app.footer(kFooter);
  rondo::require_command(app);
  app.set_version_flag("--version", [] {
    return fmt::format("rondo {} (matrix products: {})", RONDO_VERSION, rondo::matmul_backend());
  });
  rondo::add_train_command(app);
  rondo::add_eval_command(app);
  rondo::add_generate_command(app);
  rondo::add_bench_command(app);
  rondo::add_sweep_command(app);
  rondo::add_report_command(app);
  rondo::add_prepare_command(app);
  rondo::add_info_command(app);
  rondo::add_settings_command(app);
  try {
    app.parse(argc, argv);
    flush_output();
    return 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
}

}  // namespace

int main(int argc, char** argv) {
  ignore_write_signals();
  try {
    return run(argc, argv);
  } catch (const rondo::Error& error) {
    print_error(error.what());
  } catch (const std::system_error& error) {
    if (error.code().value() == EPIPE) {
      return 0;  // nobody reads on, so all that was wanted is done
    }
    print_error(error.what());
  } catch (const std::exception& error) {
    print_error(fmt::format("something unexpected went wrong: {}", error.what()));
  }
  return 1;
}
