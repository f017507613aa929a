// Putting tensors together along a dimension, and taking them apart.
#pragma once

#include <cstdint>
#include <vector>

#include "autograd/variable.h"

namespace rondo {

// The parts one after another along dimension `dim` (negative counts from the end). They have the
// same type and the same sizes in every other dimension; any type will do. Throws Error when there
// are no parts or they do not fit.
Variable concat(const std::vector<Variable>& parts, int dim);

// The pieces of x along dimension `dim` (negative counts from the end), copied; `sizes` add up to
// its size there. The inverse of concat.
std::vector<Variable> split(const Variable& x, const std::vector<std::int64_t>& sizes, int dim);

// Rows [start, start + length) of the leading dimension, as a view: the value shares elements with
// that of x. Its gradient is as large as x, so cut a tensor into many pieces with split.
Variable narrow(const Variable& x, std::int64_t start, std::int64_t length);

// x with another shape of as many elements, as a view.
Variable reshape(const Variable& x, const Shape& shape);

}  // namespace rondo
