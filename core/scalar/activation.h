// Activation functions of one element, for float and double, on the host and on a GPU.
#pragma once

#include <cmath>

#include "core/scalar/portable.h"

namespace rondo {

// The logistic function; the exponential never overflows.
template <typename T>
RONDO_HOST_DEVICE T sigmoid(T x) {
  using std::exp;
  if (x >= T(0)) {
    return T(1) / (T(1) + exp(-x));
  }
  const T e = exp(x);
  return e / (T(1) + e);
}

// The constant 1, of the type of its argument: lets formulas be written once for numbers and for
// vectors of them.
RONDO_HOST_DEVICE float one(float) { return 1.0F; }
RONDO_HOST_DEVICE double one(double) { return 1.0; }

}  // namespace rondo
