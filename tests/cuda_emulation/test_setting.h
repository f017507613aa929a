// A variable of the environment for as long as a test needs it.
#pragma once

#include <cstdlib>

namespace cuda_emulation {

// A variable of the environment, set until it goes out of scope.
class Setting {
 public:
  Setting(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Setting() { ::unsetenv(name_); }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  const char* name_;
};

}  // namespace cuda_emulation
