// Running programs, and what they say.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace rondo::testing {

struct ProcessResult {
  int exit_code = 0;  // 128 + n when signal n ended it, as in a shell
  std::string out;
  std::string err;
};

// A running program. Its standard input is empty; what it prints is collected.
class Process {
 public:
  // `arguments` begin with the program's path, or a name to look up in PATH.
  explicit Process(const std::vector<std::string>& arguments);
  // Kills it if it still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Waits until standard output holds `text`. False if it ends without.
  bool wait_for(std::string_view text);
  void signal(int number) const;
  // Waits until it ends.
  ProcessResult finish();

 private:
  // Takes what there is to read, and waits for it. False when both outputs are closed.
  bool read_more();

  pid_t id_ = -1;
  int out_ = -1;
  int err_ = -1;
  ProcessResult result_;
};

ProcessResult run_process(const std::vector<std::string>& arguments);

}  // namespace rondo::testing
