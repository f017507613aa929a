// Operations on one element at a time, and sums of all. Everything is f32 or f64; sums are
// accumulated in double.
#pragma once

#include "autograd/variable.h"

namespace rondo {

// a + b, a - b and a * b. The shapes are equal, or one of the two holds a single element, which
// then meets every element of the other. Throws Error when the shapes do not fit.
Variable add(const Variable& a, const Variable& b);
Variable sub(const Variable& a, const Variable& b);
Variable mul(const Variable& a, const Variable& b);

// factor * x, with a constant factor.
Variable scale(const Variable& x, double factor);

// x + alpha * y, with a learned alpha of shape {1}: the residual connection of SRU++ (Lei 2021,
// section 3; ReZero, Bachlechner et al. 2020). x and y have the same shape.
Variable add_scaled(const Variable& x, const Variable& alpha, const Variable& y);

// 1 / (1 + e^-x)
Variable sigmoid(const Variable& x);
Variable tanh(const Variable& x);
// x sigmoid(1.702 x): GELU in its fast form (core/scalar/activation.h).
Variable gelu(const Variable& x);
// max(x, 0)
Variable relu(const Variable& x);

// The sum, or the mean, of all elements, of shape {1}. The mean of no elements is an Error.
Variable sum(const Variable& x);
Variable mean(const Variable& x);

}  // namespace rondo
