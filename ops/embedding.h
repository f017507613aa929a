// Rows of a table.
#pragma once

#include "autograd/variable.h"

namespace rondo {

// y[...] = weight[ids[...]]
//   ids     any shape, i32, from 0 to V - 1; kept, not copied, until backward
//   weight  (V, d), f32 or f64
// Returns ids.shape + (d). The gradient of weight is dense: zero for rows that no id names. Throws
// Error naming an id that is out of range and its position.
Variable embedding(const Tensor& ids, const Variable& weight);

}  // namespace rondo
