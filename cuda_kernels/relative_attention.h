// GPU kernels of ops/relative_attention.h and of its one position at a time, beside those of
// attention. Device pointers.
#pragma once

#include <cstdint>

#include "core/cuda.h"
#include "core/half.h"
#include "cuda_kernels/attention_step.h"

namespace rondo::cuda {

// with_u = q + u and with_v = q + v, for every row; rounded to A.
//   q               (rows, columns)
//   u, v            (columns)
//   with_u, with_v  (rows, columns), =; overlap nothing
// A is float, double, bfloat16 or float16.
template <typename A>
void add_two_biases(const A* q, const ComputeType<A>* u, const ComputeType<A>* v, A* with_u,
                    A* with_v, std::int64_t rows, std::int64_t columns, Stream stream);

// scores[row][distance] = scale * (r[row mod heads][distance] q[row]) for the distances between the
// positions kept.
struct DistanceStep {
  const float* q;  // (rows, head_size), rows being streams * heads
  const float* r;  // (heads, slots, head_size)
  const AttentionCount* count;
  float* scores;  // (rows, slots), =
  std::int64_t rows, heads, head_size, slots;
  float scale;
};
void distance_step(const DistanceStep& step, Stream stream);

}  // namespace rondo::cuda
