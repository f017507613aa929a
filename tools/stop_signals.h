// Ctrl-C, SIGTERM and SIGHUP (the terminal is gone) as a request to save and stop.
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

  bool requested() const { return signal() != 0; }
  // The signal that was noted; 0 before.
  int signal() const;

 private:
  std::vector<char> stack_;
};

// Ends the program as `signal` would have ended it, once all that was printed is out: whoever
// started it must see that it was stopped, or a shell's loop would go on with its next command.
[[noreturn]] void end_by(int signal);

}  // namespace rondo
