// Rows of a table on a GPU, and the gradient of the table. Device pointers, row-major. A is the
// type of activations: float, double, bfloat16 or float16; tables have ComputeType<A>.
#pragma once

#include <cstdint>

#include "core/cuda.h"
#include "core/half.h"

namespace rondo::cuda {

// y[i] = weight[ids[i]] for `count` ids; NaN for an id outside [0, v).
//   ids     (count)
//   weight  (v, d)
//   y       (count, d), =
template <typename A>
void embedding(const std::int32_t* ids, const ComputeType<A>* weight, std::int64_t count,
               std::int64_t v, std::int64_t d, A* y, Stream stream);

// Sizes of the scratch memory that embedding_backward needs for `count` ids.
std::int64_t embedding_sort_scratch(std::int64_t count);  // integers
std::int64_t embedding_partial_rows(std::int64_t count);  // rows of d elements

template <typename A>
struct EmbeddingBackward {
  std::int64_t count = 0;  // of ids, at most 2^30; 0 will do
  std::int64_t v = 0;      // rows of the table, less than 2^31
  std::int64_t d = 0;
  const std::int32_t* ids = nullptr;       // (count); those outside [0, v) add nothing
  const A* grad_y = nullptr;               // (count, d)
  std::int32_t* sort_scratch = nullptr;    // (embedding_sort_scratch(count))
  ComputeType<A>* partial_sums = nullptr;  // (embedding_partial_rows(count), d)
  // (v, d). grad_weight[id] = sum of grad_y[i] over the i with ids[i] = id, in a fixed order. Rows
  // that no id names are left as they are.
  ComputeType<A>* grad_weight = nullptr;
};

template <typename A>
void embedding_backward(const EmbeddingBackward<A>& params, Stream stream);

}  // namespace rondo::cuda
