// The main of every test program. Where the tests are to run on a GPU that is not there, it says so
// and skips them all (CTest counts the exit code 77 as skipped).
#include <fmt/format.h>

#include <cstdlib>

#define CATCH_CONFIG_RUNNER
#include "core/cuda.h"
#include "tests/support/catch.h"
#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#endif

int main(int argc, char** argv) {
  const char* const device = std::getenv("RONDO_TEST_DEVICE");
  if (device != nullptr && rondo::Device::parse(device).is_cuda()) {
    constexpr int kSkipped = 77;
    if constexpr (!rondo::kWithCuda) {
      fmt::print("skipped: this build has no CUDA backend\n");
      return kSkipped;
    } else if (rondo::cuda::device_count() == 0) {
      fmt::print("skipped: {}\n", rondo::cuda::unavailable_reason());
      return kSkipped;
    }
  }
  return Catch::Session().run(argc, argv);
}
