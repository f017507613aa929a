// Rows of a table.
#pragma once

#include <optional>

#include "autograd/variable.h"

namespace rondo {

// y[...] = weight[ids[...]]
//   ids     any shape, i32, from 0 to V - 1; kept, not copied, until backward. They may be on the
//           CPU while weight is on a GPU.
//   weight  (V, d), f32 or f64
//   dtype   of the result: that of weight where it is not given
// Returns ids.shape + (d). The gradient of weight has its type and is dense: zero for rows that no
// id names. Throws Error naming an id that is out of range and its position; an id that is on a GPU
// already gives a row of NaN instead, and no gradient.
Variable embedding(const Tensor& ids, const Variable& weight, std::optional<DType> dtype = {});

}  // namespace rondo
