// The main of every test program. Where the tests are to run on a GPU that is not there, it skips
// them all. After a kernel has failed, nothing works on the GPU any more: the program ends, and
// names the test.
#define CATCH_CONFIG_RUNNER
#include "tests/support/catch.h"
#include "tests/support/test_device.h"
#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#endif

#include "core/error.h"

namespace {

#if __has_include(<catch2/catch_session.hpp>)
using Listener = Catch::EventListenerBase;
const std::string& name_of(const Catch::TestCaseStats& stats) { return stats.testInfo->name; }
#else
using Listener = Catch::TestEventListenerBase;
const std::string& name_of(const Catch::TestCaseStats& stats) { return stats.testInfo.name; }
#endif

class GpuListener : public Listener {
 public:
  using Listener::Listener;

  void testCaseEnded(Catch::TestCaseStats const& stats) override {
    if constexpr (rondo::kWithCuda) {
      const rondo::Device device = rondo::testing::test_device();
      if (!device.is_cuda()) {
        return;
      }
      try {
        rondo::cuda::synchronize(rondo::cuda::stream(device));
      } catch (const rondo::Error& problem) {
        fmt::print("\nGPU LOST in \"{}\": {}\n", name_of(stats), problem.what());
        std::fflush(nullptr);
        std::_Exit(rondo::testing::kGpuLost);
      }
    }
  }
};

}  // namespace

CATCH_REGISTER_LISTENER(GpuListener)

int main(int argc, char** argv) {
  if (rondo::testing::test_device_is_missing()) {
    return rondo::testing::kSkipped;
  }
  return Catch::Session().run(argc, argv);
}
