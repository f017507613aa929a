// Where tests run: on the CPU, or on the device that the environment's RONDO_TEST_DEVICE names.
#pragma once

#include <fmt/format.h>

#include <cstdlib>

#include "core/cuda.h"

namespace rondo::testing {

inline Device test_device() {
  const char* const name = std::getenv("RONDO_TEST_DEVICE");
  return name == nullptr ? Device::cpu() : Device::parse(name);
}

// What a test program returns that has skipped all tests; CTest is told of it.
inline constexpr int kSkipped = 77;
// What it returns after a kernel has failed.
inline constexpr int kGpuLost = 3;

// Whether the tests are to run on a GPU that is not there; says so.
inline bool test_device_is_missing() {
  if (!test_device().is_cuda()) {
    return false;
  }
  if constexpr (kWithCuda) {
    if (cuda::device_count() > 0) {
      return false;
    }
    fmt::print("skipped: {}\n", cuda::unavailable_reason());
  } else {
    fmt::print("skipped: this build has no CUDA backend\n");
  }
  return true;
}

}  // namespace rondo::testing
