// The main of every test program. Where the tests are to run on a GPU that is not there, it skips
// them all.
#define CATCH_CONFIG_RUNNER
#include "tests/support/catch.h"
#include "tests/support/test_device.h"
#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#endif

int main(int argc, char** argv) {
  if (rondo::testing::test_device_is_missing()) {
    return rondo::testing::kSkipped;
  }
  return Catch::Session().run(argc, argv);
}
