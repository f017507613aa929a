// Inverted dropout on a GPU. Device pointers. A is float, double, bfloat16 or float16.
#pragma once

#include <cstdint>

#include "core/cuda.h"
#include "core/half.h"

namespace rondo::cuda {

// Element i is kept, and multiplied by `factor`, where dropout_keeps(word i of the random stream,
// threshold); else it becomes 0.
struct Dropout {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;
  std::uint32_t threshold = 0;  // dropout_threshold(p)
  double factor = 1.0;          // 1 / (1 - p)
};

// to[i] = factor * from[i] or 0, for `count` elements. `to` may be `from`: backward is the same
// with the gradient.
template <typename A>
void dropout(const Dropout& params, const A* from, A* to, std::int64_t count, Stream stream);

// to[i] = factor or 0.
template <typename A>
void dropout_mask(const Dropout& params, A* to, std::int64_t count, Stream stream);

}  // namespace rondo::cuda
