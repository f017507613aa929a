// Products with a weight matrix.
#pragma once

#include <string_view>
#include <vector>

#include "autograd/variable.h"
#include "core/precision.h"

namespace rondo {

// y = x W^T + b over the last dimension.
//   x       (..., in), f32 or f64
//   weight  (out, in)
//   bias    (out), or undefined for none
// Returns (..., out). Throws Error when the sizes do not fit. With bf16 (f32 tensors only), this
// product and those of its gradient are of operands rounded to bf16.
Variable linear(const Variable& x, const Variable& weight, const Variable& bias = Variable(),
                Precision precision = Precision::f32);

// The same, without a bias, of several x one after another along the first dimension: what linear
// gives for their concatenation, which is never made. No gradient is computed for an x that needs
// none.
Variable linear_of_parts(const std::vector<Variable>& parts, const Variable& weight,
                         Precision precision = Precision::f32);

// The product of two matrices, (m, k) times (k, n).
Variable matmul(const Variable& a, const Variable& b);

// "oneDNN 2.6.3" or "Eigen 3.4.0": what computes f32 products on the CPU in this build.
std::string_view matmul_backend();

}  // namespace rondo
