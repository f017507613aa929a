// Stacks to run on, and switches between them that the address sanitizer understands.
#pragma once

#include <boost/context/fiber.hpp>

#include <cstddef>
#include <functional>

namespace cuda_emulation {

// Something that runs on a stack and can be left and entered again. Only one context runs at a
// time, and only under the mutex of the device (memory.h).
class Context {
 public:
  // The stack of the host thread that leaves it.
  Context() = default;
  // A stack of its own, on which `body` starts when it is first entered. `body` never returns.
  explicit Context(std::function<void()> body);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Leaves `from`, which is running, for this one. Returns when `from` is entered again.
  void enter(Context& from);

 private:
  void entered(boost::context::fiber&& left);

  boost::context::fiber suspended_;
  const void* stack_ = nullptr;  // its lowest address; a host's is known once it was left
  std::size_t stack_bytes_ = 0;
  void* fake_stack_ = nullptr;  // the sanitizer's
};

}  // namespace cuda_emulation
