// `rondo`: trains, evaluates and samples recurrent-attention language models.
#include <cstdio>
#include <exception>

#include "core/error.h"
#include "core/log.h"
#include "ops/cpu/gemm.h"
#include "tools/commands.h"

namespace {

constexpr const char* kFooter = R"(Start here:
  rondo train configs/quickstart.yaml
  rondo generate runs/quickstart --prompt "#include"

Every command explains itself: rondo train --help)";

}  // namespace

int main(int argc, char** argv) {
  rondo::configure_log();
  CLI::App app{"Rondo: SRU, projected SRU and SRU++ language models", "rondo"};
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", [] {
    return fmt::format("rondo {} (matrix products: {})", RONDO_VERSION, rondo::cpu::gemm_backend());
  });
  rondo::add_train_command(app);
  rondo::add_eval_command(app);
  rondo::add_generate_command(app);
  rondo::add_prepare_command(app);
  rondo::add_info_command(app);
  rondo::add_settings_command(app);
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const rondo::Error& error) {
    fmt::print(stderr, "rondo: {}\n", error.what());
  } catch (const std::exception& error) {
    fmt::print(stderr, "rondo: something unexpected went wrong: {}\n", error.what());
  }
  return 1;
}
