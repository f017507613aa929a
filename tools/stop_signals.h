// Ctrl-C and SIGTERM as a request to save and stop.
#pragma once

namespace rondo {

// While it lives, the first such signal is only noted, and a second one ends the program at once:
// nobody should have to wait for a long step. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  bool requested() const;
};

}  // namespace rondo
