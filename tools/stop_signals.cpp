#include "tools/stop_signals.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace rondo {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP};

volatile std::sig_atomic_t stop_signal = 0;

void request_stop(int signal) { stop_signal = signal; }

// The system's least grows with the registers of the processor, which it saves there.
std::size_t stack_size() {
  return std::max<std::size_t>(std::size_t{1} << 16U, static_cast<std::size_t>(SIGSTKSZ));
}

}  // namespace

StopSignals::StopSignals() : stack_(stack_size()) {
  stop_signal = 0;
  stack_t stack = {};
  stack.ss_sp = stack_.data();
  stack.ss_size = stack_.size();
  sigaltstack(&stack, nullptr);
  struct sigaction action = {};
  action.sa_handler = request_stop;
  action.sa_flags = SA_ONSTACK | SA_RESTART | static_cast<int>(SA_RESETHAND);
  for (const int signal : kSignals) {
    struct sigaction before = {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) {  // as nohup leaves SIGHUP
      sigaction(signal, &action, nullptr);
    }
  }
}

StopSignals::~StopSignals() {
  for (const int signal : kSignals) {
    struct sigaction now = {};
    sigaction(signal, nullptr, &now);
    if (now.sa_handler == request_stop) {
      std::signal(signal, SIG_DFL);
    }
  }
  stack_t none = {};
  none.ss_flags = SS_DISABLE;
  sigaltstack(&none, nullptr);
}

int StopSignals::signal() const { return stop_signal; }

void end_by(int signal) {
  std::cout.flush();
  std::fflush(stdout);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
  std::_Exit(128 + signal);  // where it is blocked
}

}  // namespace rondo
