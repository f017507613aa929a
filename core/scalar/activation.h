// Activation functions of one element, with their derivatives, for the CPU loops and the CUDA
// kernels alike.
#pragma once

#include <cmath>
#include <type_traits>

#include "core/scalar/portable.h"

namespace rondo {

// 1 / (1 + e^-x). The exponential is taken of -|x|, so it never overflows, and small values keep
// their relative accuracy. On a GPU, floats get its fast exponential and reciprocal, since the time
// of a recurrence is that of one sigmoid after another: a few units in the last place off, |x| more
// for negative x, and 0 below -87.
template <typename T>
RONDO_HOST_DEVICE T sigmoid(T x) {
#ifdef __CUDA_ARCH__
  if constexpr (std::is_same_v<T, float>) {
    constexpr float kLog2E = 1.44269504F;
    float e;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(-kLog2E * x));
    float y;  // 0 where e has become infinite
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(1.0F + e));
    return y;
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

// What the elementwise operations take. `gradient` is that of x from that of the value, grad_y, and
// from what an operation keeps: the value y, or, with keeps_input, x.
struct Sigmoid {
  static constexpr bool keeps_input = false;
  template <typename T>
  static RONDO_HOST_DEVICE T value(T x) {
    return sigmoid(x);
  }
  template <typename T>
  static RONDO_HOST_DEVICE T gradient(T grad_y, T y) {
    return grad_y * (y * (T(1) - y));
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
  static RONDO_HOST_DEVICE T gradient(T grad_y, T y) {
    return y > T(0) ? grad_y : T(0);  // a choice, not a product: compilers make vectors of it
  }
};

struct Tanh {
  static constexpr bool keeps_input = false;
  template <typename T>
  static RONDO_HOST_DEVICE T value(T x) {
    return std::tanh(x);
  }
  template <typename T>
  static RONDO_HOST_DEVICE T gradient(T grad_y, T y) {
    return grad_y * (T(1) - y * y);
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
  static RONDO_HOST_DEVICE T gradient(T grad_y, T x) {
    const T s = sigmoid(T(1.702) * x);
    return grad_y * (s + T(1.702) * x * s * (T(1) - s));
  }
};

}  // namespace rondo
