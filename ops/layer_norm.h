// Layer normalisation (Ba, Kiros and Hinton, 2016).
#pragma once

#include "autograd/variable.h"

namespace rondo {

// y = (x - mean) / sqrt(variance + eps) * weight + bias, with the mean and the (biased) variance of
// each row, a row being the last dimension.
//   x       (..., n), f32 or f64, on a GPU also bf16 or f16; n > 0
//   weight  (n), of the type of x; f32 where that is bf16 or f16
//   bias    (n), likewise
// Returns (..., n), of the type of x. Statistics have the type of weight. Throws Error when sizes
// or types do not fit.
Variable layer_norm(const Variable& x, const Variable& weight, const Variable& bias,
                    double eps = 1e-5);

}  // namespace rondo
