// Runs a command line as a user would, and keeps what it printed.
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "tests/support/temporary_folder.h"

namespace rondo::testing {

struct ShellResult {
  int exit_code = -1;  // 128 + signal when a signal ended it
  std::string out;
  std::string err;
};

// Runs `command` with sh in `folder`; RONDO names the program under test.
inline ShellResult run_shell(const TemporaryFolder& folder, const std::string& command) {
  const TemporaryFolder output;
  const std::string line = "cd '" + folder.path().string() +
                           "' && export RONDO='" RONDO_BINARY "' OMP_WAIT_POLICY=passive && { " +
                           command + " ; } >'" + (output / "out").string() + "' 2>'" +
                           (output / "err").string() + "'";
  const int status = std::system(line.c_str());
  ShellResult result;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = read_bytes(output / "out");
  result.err = read_bytes(output / "err");
  return result;
}

}  // namespace rondo::testing
