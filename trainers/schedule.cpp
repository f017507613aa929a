#include "trainers/schedule.h"

#include <cmath>
#include <numbers>

namespace rondo {

double learning_rate(const ScheduleConfig& schedule, double lr, std::int64_t total_steps,
                     std::int64_t step) {
  const auto t = static_cast<double>(step);
  const auto w = static_cast<double>(schedule.warmup_steps);
  if (step < schedule.warmup_steps) {
    // The quotient first: lr itself at the last step, unless from zero.
    return lr * ((schedule.warmup_from_zero ? t : t + 1.0) / w);
  }
  if (schedule.type == ScheduleType::constant) {
    return lr;
  }
  const std::int64_t total = schedule.total_steps > 0 ? schedule.total_steps : total_steps;
  if (step >= total) {
    return 0.0;
  }
  const auto raised_cosine = [total](double at) {
    return 1.0 + std::cos(std::numbers::pi * at / static_cast<double>(total));
  };
  const double start = schedule.warmup_steps > 0 ? raised_cosine(w - 1.0) : 2.0;
  return lr * raised_cosine(t) / start;
}

}  // namespace rondo
