// Errors that a person reads. Every message names the operation or file, what was expected, what
// was found, and where it helps, what to do.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace rondo {

// Thrown for everything a user or an embedder can cause: bad shapes, bad files, bad settings.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Thrown when a device has no memory left: whoever knows what takes it can say what to do.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

// Throws Error with a formatted message.
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> message, Args&&... args) {
  throw Error(fmt::format(message, std::forward<Args>(args)...));
}

// Throws Error with a formatted message unless `condition` holds.
template <typename... Args>
void check(bool condition, fmt::format_string<Args...> message, Args&&... args) {
  if (!condition) [[unlikely]] {
    fail(message, std::forward<Args>(args)...);
  }
}

}  // namespace rondo
