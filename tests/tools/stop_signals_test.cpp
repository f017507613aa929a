#include "tools/stop_signals.h"

#include <csignal>

#include "tests/support/testing.h"

using namespace rondo;

namespace {

struct sigaction action_of(int signal) {
  struct sigaction action = {};
  sigaction(signal, nullptr, &action);
  return action;
}

bool has_own_stack() {
  stack_t stack = {};
  sigaltstack(nullptr, &stack);
  return (stack.ss_flags & SS_DISABLE) == 0;
}

}  // namespace

TEST_CASE("a signal is noted once, on a stack of its own", "[tools][stop_signals]") {
  const int signal = GENERATE(SIGINT, SIGTERM, SIGHUP);
  {
    const StopSignals signals;
    REQUIRE_FALSE(signals.requested());
    // The stack pointer may point into a buffer of oneDNN when the signal comes.
    REQUIRE((action_of(signal).sa_flags & SA_ONSTACK) != 0);
    REQUIRE(has_own_stack());
    std::raise(signal);
    REQUIRE(signals.requested());
    REQUIRE(signals.signal() == signal);
    REQUIRE(action_of(signal).sa_handler == SIG_DFL);  // the next one ends the program
  }
  REQUIRE(action_of(signal).sa_handler == SIG_DFL);
  REQUIRE_FALSE(has_own_stack());
  REQUIRE_FALSE(StopSignals().requested());
}

TEST_CASE("a signal that is ignored stays ignored, as nohup wants it", "[tools][stop_signals]") {
  std::signal(SIGHUP, SIG_IGN);
  {
    const StopSignals signals;
    std::raise(SIGHUP);
    REQUIRE_FALSE(signals.requested());
  }
  REQUIRE(action_of(SIGHUP).sa_handler == SIG_IGN);
  std::signal(SIGHUP, SIG_DFL);
}
