// Products with a weight matrix.
#pragma once

#include <string>
#include <vector>

#include "autograd/variable.h"
#include "core/precision.h"

namespace rondo {

// y = x W^T + b over the last dimension.
//   x       (..., in), f32 or f64; on a GPU also bf16 or f16
//   weight  (out, in), of x's type, f32 beside half types
//   bias    (out), likewise, or undefined for none
// Returns (..., out) of x's type. Throws Error when the sizes do not fit.
//
// Where x is f32, `precision` says what the operands of this product, and of those of its gradient,
// are rounded to (tf32 and f16 on GPUs only). The operands beside a half x are x and the weight
// rounded to x's type, whatever the precision. Sums and the gradients of parameters are f32.
Variable linear(const Variable& x, const Variable& weight, const Variable& bias = Variable(),
                Precision precision = Precision::f32);

// The same, without a bias, of several x one after another along the first dimension: what linear
// gives for their concatenation, which is never made. No gradient is computed for an x that needs
// none.
Variable linear_of_parts(const std::vector<Variable>& parts, const Variable& weight,
                         Precision precision = Precision::f32);

// y = x W over the last dimension, with weight (in, out): linear with a weight that lies the other
// way, as one does that two ends of a model share.
Variable linear_transposed(const Variable& x, const Variable& weight,
                           Precision precision = Precision::f32);

// The product of two matrices of one type, (m, k) times (k, n); half types on a GPU only.
Variable matmul(const Variable& a, const Variable& b);

// "oneDNN 2.6.3" or "Eigen 3.4.0", "cuBLASLt 13.1.0": what computes f32 products on `device`.
std::string matmul_backend(Device device = Device::cpu());

}  // namespace rondo
