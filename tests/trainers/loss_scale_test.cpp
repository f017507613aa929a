// Which steps are taken, and what becomes of the loss scale.
#include <cmath>
#include <limits>

#include "core/scalar/optimizer_step.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
const double kNan = std::nan("");

StepState scaled(double loss_scale) {
  StepState state;
  state.loss_scale = loss_scale;
  return state;
}

}  // namespace

TEST_CASE("numbers that are not finite end a run for good", "[trainers][loss_scale][cpu]") {
  for (const auto& [loss, norm] :
       {std::pair(kNan, 1.0), {kInfinity, 1.0}, {1.0, kNan}, {1.0, kInfinity}, {kNan, kNan}}) {
    INFO("loss " << loss << ", norm " << norm);
    StepState state;
    REQUIRE(admit_step(state, 2.0, 3.0, false));
    REQUIRE_FALSE(admit_step(state, loss, norm, false));
    REQUIRE_FALSE(admit_step(state, 2.0, 3.0, false));
    REQUIRE(state.failed_check == 2);
    REQUIRE((state.failed_loss == loss || (std::isnan(loss) && std::isnan(state.failed_loss))));
    REQUIRE((state.failed_norm == norm || (std::isnan(norm) && std::isnan(state.failed_norm))));
    REQUIRE(state.loss_scale == 1.0);
    REQUIRE(state.skipped == 0);
  }
}

TEST_CASE("an overflow halves the loss scale", "[trainers][loss_scale][cpu]") {
  StepState state = scaled(65536.0);
  REQUIRE(admit_step(state, 2.0, 3.0, true));
  REQUIRE_FALSE(admit_step(state, 2.0, kInfinity, true));
  REQUIRE_FALSE(admit_step(state, 2.0, kNan, true));
  REQUIRE(state.loss_scale == 16384.0);
  REQUIRE(state.skipped == 2);
  REQUIRE(state.failed_check == 0);
  REQUIRE(admit_step(state, 2.0, 3.0, true));

  // A loss that is not finite is no matter of scale.
  REQUIRE_FALSE(admit_step(state, kInfinity, 3.0, true));
  REQUIRE(state.failed_check == 5);
  REQUIRE(state.loss_scale == 16384.0);
}

TEST_CASE("a loss scale below 1 ends the run", "[trainers][loss_scale][cpu]") {
  StepState state = scaled(4.0);
  for (int i = 0; i < 2; ++i) {
    REQUIRE_FALSE(admit_step(state, 2.0, kInfinity, true));
    REQUIRE(state.failed_check == 0);
  }
  REQUIRE_FALSE(admit_step(state, 2.0, kInfinity, true));
  REQUIRE(state.failed_check == 3);
  REQUIRE(state.loss_scale == 0.5);
  REQUIRE_FALSE(admit_step(state, 2.0, 3.0, true));
}

TEST_CASE("2000 good steps in a row double the loss scale", "[trainers][loss_scale][cpu]") {
  StepState state = scaled(1024.0);
  const auto good_steps = [&](int count) {
    for (int i = 0; i < count; ++i) {
      REQUIRE(admit_step(state, 2.0, 3.0, true));
    }
  };
  good_steps(1999);
  REQUIRE(state.loss_scale == 1024.0);
  REQUIRE_FALSE(admit_step(state, 2.0, kInfinity, true));
  good_steps(1999);
  REQUIRE(state.loss_scale == 512.0);
  good_steps(1);
  REQUIRE(state.loss_scale == 1024.0);
  good_steps(2000);
  REQUIRE(state.loss_scale == 2048.0);

  state.loss_scale = 16777216.0;  // the largest
  good_steps(2000);
  REQUIRE(state.loss_scale == 16777216.0);
  REQUIRE(state.good_steps == 0);

  StepState plain;
  for (int i = 0; i < 4000; ++i) {
    admit_step(plain, 2.0, 3.0, false);
  }
  REQUIRE(plain.loss_scale == 1.0);
}
