#include "ops/cpu/softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace rondo::cpu {

template <typename T>
T softmax_in_place_plain(T* x, std::int64_t n) {
  constexpr T kNothing = -std::numeric_limits<T>::infinity();
  T largest = kNothing;
  for (std::int64_t i = 0; i < n; ++i) {
    largest = std::max(largest, x[i]);
  }
  if (largest == kNothing) {
    softmax_of_nothing(x, n);
    return kNothing;
  }
  T sum = T(0);
  for (std::int64_t i = 0; i < n; ++i) {
    x[i] = std::exp(x[i] - largest);
    sum += x[i];
  }
  for (std::int64_t i = 0; i < n; ++i) {
    x[i] /= sum;
  }
  return largest + std::log(sum);
}

template <typename T>
void softmax_gradient_in_place_plain(const T* p, T* g, std::int64_t n) {
  T dot = T(0);
  for (std::int64_t i = 0; i < n; ++i) {
    dot += p[i] * g[i];
  }
  for (std::int64_t i = 0; i < n; ++i) {
    g[i] = p[i] * (g[i] - dot);
  }
}

template float softmax_in_place_plain(float*, std::int64_t);
template double softmax_in_place_plain(double*, std::int64_t);

template void softmax_gradient_in_place_plain(const float*, float*, std::int64_t);
template void softmax_gradient_in_place_plain(const double*, double*, std::int64_t);

double softmax_in_place(double* x, std::int64_t n) { return softmax_in_place_plain(x, n); }

void softmax_gradient_in_place(const double* p, double* g, std::int64_t n) {
  softmax_gradient_in_place_plain(p, g, n);
}

}  // namespace rondo::cpu
