// Ctrl-C and SIGTERM as a request to save and stop.
#pragma once

#include <vector>

namespace rondo {

// While it lives, the first such signal is only noted, and a second one ends the program at once:
// nobody should have to wait for a long step. One at a time, in the main thread, which is the one
// that signals come to.
//
// The note is taken on a stack of its own: oneDNN's matrix products let the stack pointer point
// into their buffers for a while, and what a handler puts on the stack then would overwrite others'
// memory.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  bool requested() const;

 private:
  std::vector<char> stack_;
};

}  // namespace rondo
