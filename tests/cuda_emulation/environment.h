// Whole numbers from the environment, read at every use so that a test can change them.
#pragma once

#include <cstdlib>

#include "core/error.h"

namespace cuda_emulation {

inline long setting(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr) {
    return otherwise;
  }
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  rondo::check(end != text && *end == '\0' && value >= 0, "{} is {}; expected a whole number", name,
               text);
  return value;
}

}  // namespace cuda_emulation
