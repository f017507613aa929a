// Activation functions of one element, with their derivatives, for the CPU loops and the CUDA
// kernels alike.
#pragma once

#include <cmath>
#include <type_traits>

#include "core/scalar/portable.h"

namespace rondo {

// 1 / (1 + e^-x). The exponential is taken of -|x|, so it never overflows, and small values keep
// their relative accuracy. On a GPU, floats get its fast exponential and division, since the time
// of a recurrence is that of one sigmoid after another: a few units in the last place off, |x| more
// for negative x, and 0 below -87.
template <typename T>
RONDO_HOST_DEVICE T sigmoid(T x) {
#ifdef __CUDA_ARCH__
  if constexpr (std::is_same_v<T, float>) {
    constexpr float kLog2E = 1.44269504F;
    float e;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(-kLog2E * fabsf(x)));
    return __fdividef(x < 0.0F ? e : 1.0F, 1.0F + e);
  }
#endif
  const T e = std::exp(-std::abs(x));
  return (x < T(0) ? e : T(1)) / (T(1) + e);
}

template <typename T>
struct Pair {
  T first, second;
};

// The sigmoids of both. Vectors have a version that saves a division (ops/cpu/lanes-inl.h).
template <typename T>
RONDO_HOST_DEVICE Pair<T> sigmoid_pair(T x, T y) {
  return {sigmoid(x), sigmoid(y)};
}

// The constant 1, of the type of its argument: lets formulas be written once for numbers and for
// vectors of them.
RONDO_HOST_DEVICE float one(float) { return 1.0F; }
RONDO_HOST_DEVICE double one(double) { return 1.0; }

// What the elementwise operations take. A derivative takes what an operation keeps: the function's
// value, or, with keeps_input, what it was computed of.
struct Sigmoid {
  static constexpr bool keeps_input = false;
  template <typename T>
  static RONDO_HOST_DEVICE T value(T x) {
    return sigmoid(x);
  }
  template <typename T>
  static RONDO_HOST_DEVICE T derivative(T y) {
    return y * (T(1) - y);
  }
};

// max(x, 0); NaN stays.
struct Relu {
  static constexpr bool keeps_input = false;
  template <typename T>
  static RONDO_HOST_DEVICE T value(T x) {
    return x < T(0) ? T(0) : x;
  }
  template <typename T>
  static RONDO_HOST_DEVICE T derivative(T y) {
    return y > T(0) ? T(1) : T(0);
  }
};

struct Tanh {
  static constexpr bool keeps_input = false;
  template <typename T>
  static RONDO_HOST_DEVICE T value(T x) {
    return std::tanh(x);
  }
  template <typename T>
  static RONDO_HOST_DEVICE T derivative(T y) {
    return T(1) - y * y;
  }
};

// x sigmoid(1.702 x), the fast form of GELU (Hendrycks and Gimpel 2016, section 2), which SHA-RNN
// was trained with. It is within 0.021 of the exact x Phi(x).
struct Gelu {
  static constexpr bool keeps_input = true;  // two x have one value below 0
  template <typename T>
  static RONDO_HOST_DEVICE T value(T x) {
    return x * sigmoid(T(1.702) * x);
  }
  template <typename T>
  static RONDO_HOST_DEVICE T derivative(T x) {
    const T s = sigmoid(T(1.702) * x);
    return s + T(1.702) * x * s * (T(1) - s);
  }
};

}  // namespace rondo
