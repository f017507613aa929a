// Products with a weight matrix.
#pragma once

#include <string_view>

#include "autograd/variable.h"

namespace rondo {

// y = x W^T + b over the last dimension.
//   x       (..., in), f32 or f64
//   weight  (out, in)
//   bias    (out), or undefined for none
// Returns (..., out). Throws Error when the sizes do not fit.
Variable linear(const Variable& x, const Variable& weight, const Variable& bias = Variable());

// The product of two matrices, (m, k) times (k, n).
Variable matmul(const Variable& a, const Variable& b);

// "oneDNN 2.6.3" or "Eigen 3.4.0": what computes f32 products on the CPU in this build.
std::string_view matmul_backend();

}  // namespace rondo
