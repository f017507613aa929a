// Conversion between floating-point types, with gradient.
#pragma once

#include "autograd/variable.h"

namespace rondo {

// x as `dtype`, rounded to nearest; x itself if it has that type. The gradient is converted back.
Variable cast(const Variable& x, DType dtype);

}  // namespace rondo
