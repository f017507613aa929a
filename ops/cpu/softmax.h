// Softmax of one row, vectorised for f32.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace rondo::cpu {

// Replaces x by exp(x - m) / sum exp(x - m), m the largest element, and returns the logarithm of
// sum exp(x). A row whose elements are all -infinity becomes zeros (and -infinity is returned), so
// that a query with nothing to see contributes nothing. Exponentials are at most 1 ULP off.
float softmax_in_place(float* x, std::int64_t n);
double softmax_in_place(double* x, std::int64_t n);

// The gradient of softmax: replaces g, the gradient of its result p, by p (g - sum p g).
void softmax_gradient_in_place(const float* p, float* g, std::int64_t n);
void softmax_gradient_in_place(const double* p, double* g, std::int64_t n);

// What a row becomes whose largest element is -infinity: zeros, but NaN stays.
template <typename T>
void softmax_of_nothing(T* x, std::int64_t n) {
  std::for_each_n(x, n, [](T& value) {
    if (value == -std::numeric_limits<T>::infinity()) {
      value = T(0);
    }
  });
}

// The plain loops: the specification, for tests in f32 and for f64.
template <typename T>
T softmax_in_place_plain(T* x, std::int64_t n);
template <typename T>
void softmax_gradient_in_place_plain(const T* p, T* g, std::int64_t n);

}  // namespace rondo::cpu
