// One optimizer step over a range of elements, vectorised for f32.
#pragma once

#include <cstdint>

#include "core/scalar/optimizer_step.h"

namespace rondo::cpu {

// adam_step (core/scalar/adam_step.inc) for each of n elements.
void adam_update(const AdamStep<float>& step, std::int64_t n, const float* grad, float* parameter,
                 float* m, float* v);
void adam_update(const AdamStep<double>& step, std::int64_t n, const double* grad,
                 double* parameter, double* m, double* v);

// The plain loop: the specification, and f64.
template <typename T>
void adam_update_plain(const AdamStep<T>& step, std::int64_t n, const T* grad, T* parameter, T* m,
                       T* v) {
  for (std::int64_t i = 0; i < n; ++i) {
    adam_step(step, grad[i], parameter[i], m[i], v[i]);
  }
}

}  // namespace rondo::cpu
