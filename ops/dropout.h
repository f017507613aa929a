// Inverted dropout (Srivastava et al., 2014).
#pragma once

#include "autograd/variable.h"
#include "core/random.h"

namespace rondo {

// x times a mask of its own: an element is kept, and multiplied by 1 / (1 - p), with probability
// 1 - p, and is 0 otherwise. For training only: to evaluate, do not call it.
//   x          any shape, f32 or f64, on a GPU also bf16 or f16
//   p          in [0, 1); 0 returns x itself and draws no stream
//   generator  gives one stream. Element i is kept when word i of the stream, as a number in
//              [0, 1), is at least p. For backward the CPU keeps the mask, a bit an element; a GPU
//              makes it again.
Variable dropout(const Variable& x, double p, Generator& generator);

// Such a mask by itself, for the uses that share one: its elements are 0 or 1 / (1 - p). With p = 0
// all are 1 and no stream is drawn. `dtype` is f32 or f64, on a GPU also bf16 or f16. The same
// elements are kept on every device.
Tensor dropout_mask(const Shape& shape, double p, DType dtype, Generator& generator,
                    Device device = Device::cpu());

}  // namespace rondo
