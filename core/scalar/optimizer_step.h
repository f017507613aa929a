// One optimizer step, for the CPU loops and the CUDA kernels: whether it is taken, its constants,
// and what it does to one element.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/scalar/portable.h"

namespace rondo {

#include "core/scalar/adam_step.inc"

template <typename T>
struct SgdStep {
  T lr, momentum, weight_decay, grad_scale;
};

template <typename T>
RONDO_HOST_DEVICE void sgd_step(const SgdStep<T>& s, T grad, T& parameter, T& velocity) {
  velocity = s.momentum * velocity + (grad * s.grad_scale + s.weight_decay * parameter);
  parameter -= s.lr * velocity;
}

// The settings of Adam, AdamW and RAdam.
struct AdamRule {
  template <typename T>
  using Step = AdamStep<T>;

  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.0;
  bool decoupled = false;  // weight decay stays out of the moments
  bool rectified = false;  // RAdam
};

// Those of SGD.
struct SgdRule {
  template <typename T>
  using Step = SgdStep<T>;

  double momentum = 0.0, weight_decay = 0.0;
};

// The constants of step `t`, counted from 1, whose gradient is multiplied by `grad_scale`.
RONDO_HOST_DEVICE AdamStep<double> step_constants(const AdamRule& rule, std::int64_t t, double lr,
                                                  double grad_scale) {
  const auto steps = static_cast<double>(t);
  const double beta1_t = std::pow(rule.beta1, steps);
  const double beta2_t = std::pow(rule.beta2, steps);
  AdamStep<double> s{};
  s.beta1 = rule.beta1;
  s.beta2 = rule.beta2;
  s.rest1 = 1.0 - rule.beta1;
  s.rest2 = 1.0 - rule.beta2;
  s.eps = rule.eps;
  s.decay = rule.decoupled ? 1.0 - lr * rule.weight_decay : 1.0;
  s.added_decay = rule.decoupled ? 0.0 : rule.weight_decay;
  s.grad_scale = grad_scale;
  s.update = true;
  s.step_size = lr / (1.0 - beta1_t);
  s.variance_scale = 1.0 / std::sqrt(1.0 - beta2_t);
  if (rule.rectified) {
    const double rho_max = 2.0 / (1.0 - rule.beta2) - 1.0;
    const double rho = rho_max - 2.0 * steps * beta2_t / (1.0 - beta2_t);
    s.update = rho >= 5.0;
    if (s.update) {
      s.step_size *= std::sqrt((1.0 - beta2_t) * (rho - 4.0) / (rho_max - 4.0) * (rho - 2.0) / rho *
                               rho_max / (rho_max - 2.0));
      s.variance_scale = 1.0;  // the bias correction stands in the factor above
    }
  }
  return s;
}

RONDO_HOST_DEVICE SgdStep<double> step_constants(const SgdRule& rule, std::int64_t /*t*/, double lr,
                                                 double grad_scale) {
  return {lr, rule.momentum, rule.weight_decay, grad_scale};
}

// The same constants in the type of the elements.
template <typename T>
RONDO_HOST_DEVICE AdamStep<T> rounded(const AdamStep<double>& s) {
  return {static_cast<T>(s.beta1),
          static_cast<T>(s.beta2),
          static_cast<T>(s.rest1),
          static_cast<T>(s.rest2),
          static_cast<T>(s.eps),
          static_cast<T>(s.step_size),
          static_cast<T>(s.variance_scale),
          static_cast<T>(s.decay),
          static_cast<T>(s.added_decay),
          static_cast<T>(s.grad_scale),
          s.update};
}

template <typename T>
RONDO_HOST_DEVICE SgdStep<T> rounded(const SgdStep<double>& s) {
  return {static_cast<T>(s.lr), static_cast<T>(s.momentum), static_cast<T>(s.weight_decay),
          static_cast<T>(s.grad_scale)};
}

// The factor that brings a gradient of norm `norm` to at most `max_norm` (0: no limit), as
// PyTorch's clip_grad_norm_ computes it: max_norm / (norm + 1e-6) where that is below 1.
RONDO_HOST_DEVICE double clip_factor(double norm, double max_norm) {
  const double factor = max_norm > 0.0 ? max_norm / (norm + 1e-6) : 1.0;
  return factor < 1.0 ? factor : 1.0;
}

// What the steps of a run leave behind for the next. It lies where the parameters are, so that a
// step on a GPU can be decided there.
struct StepState {
  std::int64_t steps = 0;   // taken: t of the last
  std::int64_t checks = 0;  // steps that admit_step decided on
  // The loss is multiplied by this before the backward pass, and gradients divided by it after.
  double loss_scale = 1.0;
  std::int64_t good_steps = 0;  // since the scale last changed
  std::int64_t skipped = 0;     // steps whose gradients overflowed
  // The first checked step that ended the run, from 1, and what it found; 0: none.
  std::int64_t failed_check = 0;
  double failed_loss = 0.0;
  double failed_norm = 0.0;
};

// Whether a step with this loss and gradient norm is to be taken. A loss or a norm that is not
// finite fails the run: neither this step nor any later one is. With `adaptive`, a norm that is not
// finite is an overflow of the 16-bit range instead: the step is skipped, and the scale halved. A
// scale that falls below 1 fails the run. After 2000 good steps the scale is doubled, for steps to
// come, up to 2^24 (Micikevicius et al., 2018, section 3.2; the numbers are those of PyTorch's
// GradScaler).
RONDO_HOST_DEVICE bool admit_step(StepState& state, double loss, double norm, bool adaptive) {
  constexpr std::int64_t kGrowthInterval = 2000;
  constexpr double kLargestScale = 16777216.0;
  ++state.checks;
  if (state.failed_check != 0) {
    return false;
  }
  bool failed = !std::isfinite(loss) || (!std::isfinite(norm) && !adaptive);
  const bool overflow = !failed && !std::isfinite(norm);
  if (overflow) {
    ++state.skipped;
    state.good_steps = 0;
    state.loss_scale *= 0.5;
    failed = state.loss_scale < 1.0;
  }
  if (failed) {
    state.failed_check = state.checks;
    state.failed_loss = loss;
    state.failed_norm = norm;
  }
  if (failed || overflow) {
    return false;
  }
  if (adaptive && ++state.good_steps >= kGrowthInterval) {
    state.good_steps = 0;
    state.loss_scale *= state.loss_scale < kLargestScale ? 2.0 : 1.0;
  }
  return true;
}

}  // namespace rondo
