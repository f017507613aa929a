// One optimizer step of one parameter element, for the CPU loops and later CUDA kernels.
#pragma once

#include <cmath>

#include "core/scalar/portable.h"

namespace rondo {

// What is the same for every element of a step.
template <typename T>
struct AdamStep {
  T beta1, beta2;
  T eps;
  T step_size;       // factor of m / (sqrt(v) scaled + eps)
  T variance_scale;  // factor of sqrt(v): 1 / sqrt(1 - beta2^t), or 1
  T decay;           // the parameter is multiplied by this first: 1 - lr * weight_decay
  T added_decay;     // added to the gradient, times the parameter (Adam's L2 term)
  T grad_scale;      // factor of the gradient: clipping
  bool update;       // false: moments move, the parameter does not (RAdam's first steps)
};

template <typename T>
RONDO_HOST_DEVICE void adam_step(const AdamStep<T>& s, T grad, T& parameter, T& m, T& v) {
  const T g = grad * s.grad_scale + s.added_decay * parameter;
  m = s.beta1 * m + (T(1) - s.beta1) * g;
  v = s.beta2 * v + (T(1) - s.beta2) * g * g;
  if (s.update) {
    parameter = parameter * s.decay - s.step_size * m / (std::sqrt(v) * s.variance_scale + s.eps);
  }
}

template <typename T>
struct SgdStep {
  T lr, momentum, weight_decay, grad_scale;
};

template <typename T>
RONDO_HOST_DEVICE void sgd_step(const SgdStep<T>& s, T grad, T& parameter, T& velocity) {
  velocity = s.momentum * velocity + (grad * s.grad_scale + s.weight_decay * parameter);
  parameter -= s.lr * velocity;
}

}  // namespace rondo
