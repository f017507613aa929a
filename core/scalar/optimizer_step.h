// One optimizer step of one parameter element, for the CPU loops and later CUDA kernels.
#pragma once

#include <cmath>

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

}  // namespace rondo
