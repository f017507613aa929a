#include "trainers/schedule.h"

#include <cmath>
#include <numbers>

#include "tests/support/catch.h"

using namespace rondo;

namespace {

ScheduleConfig schedule_of(ScheduleType type, std::int64_t warmup, std::int64_t total = 0) {
  ScheduleConfig schedule;
  schedule.type = type;
  schedule.warmup_steps = warmup;
  schedule.total_steps = total;
  return schedule;
}

double cosine(std::int64_t step, std::int64_t total) {
  return std::cos(std::numbers::pi * static_cast<double>(step) / static_cast<double>(total));
}

}  // namespace

TEST_CASE("the rate rises in a line over the warm-up", "[trainers][schedule][cpu]") {
  for (const ScheduleType type : {ScheduleType::cosine, ScheduleType::constant}) {
    const ScheduleConfig schedule = schedule_of(type, 4);
    REQUIRE(learning_rate(schedule, 0.8, 100, 0) == Approx(0.2));
    REQUIRE(learning_rate(schedule, 0.8, 100, 1) == Approx(0.4));
    REQUIRE(learning_rate(schedule, 0.8, 100, 2) == Approx(0.6));
    REQUIRE(learning_rate(schedule, 0.8, 100, 3) == 0.8);
  }
}

TEST_CASE("the warm-up may start from zero, on the same cosine", "[trainers][schedule][cpu]") {
  for (const ScheduleType type : {ScheduleType::cosine, ScheduleType::constant}) {
    const ScheduleConfig from_first = schedule_of(type, 4);
    ScheduleConfig from_zero = from_first;
    from_zero.warmup_from_zero = true;
    REQUIRE(learning_rate(from_zero, 0.8, 100, 0) == 0.0);
    for (std::int64_t step = 1; step < 100; ++step) {
      REQUIRE(learning_rate(from_zero, 0.8, 100, step) ==
              learning_rate(from_first, 0.8, 100, step < 4 ? step - 1 : step));
    }
  }
}

TEST_CASE("the cosine falls from the last warm-up step", "[trainers][schedule][cpu]") {
  constexpr std::int64_t kTotal = 50;
  constexpr std::int64_t kWarmup = 10;
  const ScheduleConfig schedule = schedule_of(ScheduleType::cosine, kWarmup);
  for (std::int64_t step = kWarmup; step < kTotal; ++step) {
    INFO("step " << step);
    const double expected = 3e-4 * (1 + cosine(step, kTotal)) / (1 + cosine(kWarmup - 1, kTotal));
    REQUIRE(learning_rate(schedule, 3e-4, kTotal, step) == Approx(expected).epsilon(1e-12));
    REQUIRE(learning_rate(schedule, 3e-4, kTotal, step) <
            learning_rate(schedule, 3e-4, kTotal, step - 1));
  }
}

TEST_CASE("without warm-up the cosine starts from lr", "[trainers][schedule][cpu]") {
  constexpr std::int64_t kTotal = 8;
  const ScheduleConfig schedule = schedule_of(ScheduleType::cosine, 0);
  REQUIRE(learning_rate(schedule, 0.1, kTotal, 0) == 0.1);
  REQUIRE(learning_rate(schedule, 0.1, kTotal, kTotal / 2) == Approx(0.05));
  for (std::int64_t step = 0; step < kTotal; ++step) {
    REQUIRE(learning_rate(schedule, 0.1, kTotal, step) ==
            Approx(0.1 * (1 + cosine(step, kTotal)) / 2).epsilon(1e-12));
  }
}

TEST_CASE("past its end the cosine stays at 0", "[trainers][schedule][cpu]") {
  for (const std::int64_t warmup : {0, 3, 20}) {
    const ScheduleConfig schedule = schedule_of(ScheduleType::cosine, warmup);
    for (const std::int64_t step : {20, 21, 39, 40, 1000}) {
      REQUIRE(learning_rate(schedule, 0.1, 20, step) == 0.0);
    }
  }
}

TEST_CASE("total_steps stands for the steps of the training", "[trainers][schedule][cpu]") {
  for (const std::int64_t step : {0, 5, 19, 25, 39, 40}) {
    REQUIRE(learning_rate(schedule_of(ScheduleType::cosine, 3, 40), 0.1, 20, step) ==
            learning_rate(schedule_of(ScheduleType::cosine, 3), 0.1, 40, step));
  }
}

TEST_CASE("a constant rate stays", "[trainers][schedule][cpu]") {
  for (const std::int64_t warmup : {0, 2}) {
    const ScheduleConfig schedule = schedule_of(ScheduleType::constant, warmup);
    for (const std::int64_t step : {2, 3, 99, 100, 5000}) {
      REQUIRE(learning_rate(schedule, 0.3, 100, step) == 0.3);
    }
  }
}

TEST_CASE("the highest rate is exactly lr", "[trainers][schedule][cpu]") {
  for (const double lr : {3e-4, 2.5e-4, 1e-3, 0.1, 0.7, 1.0 / 3}) {
    for (std::int64_t warmup = 0; warmup <= 200; ++warmup) {
      INFO("lr " << lr << ", warm-up " << warmup);
      const ScheduleConfig schedule = schedule_of(ScheduleType::cosine, warmup);
      double highest = 0.0;
      for (std::int64_t step = 0; step < 220; ++step) {
        highest = std::max(highest, learning_rate(schedule, lr, 220, step));
      }
      REQUIRE(highest == lr);
    }
  }
}
