// The loss of language models on a GPU; ops/cross_entropy.h has the equations. Device pointers,
// row-major. A is the type of the logits: float, double, bfloat16 or float16.
#pragma once

#include <cstdint>

#include "core/cuda.h"
#include "core/half.h"

namespace rondo::cuda {

template <typename A>
struct CrossEntropy {
  std::int64_t rows = 0;                  // 0 will do
  std::int64_t v = 0;                     // the size of the vocabulary, at least 1
  double factor = 1.0;                    // of the gradient
  const A* logits = nullptr;              // (rows, v)
  const std::int32_t* targets = nullptr;  // (rows); one outside [0, v) makes its row NaN
  double* nats = nullptr;                 // (rows), = logsumexp(logits) - logits[target]
  A* grad = nullptr;  // (rows, v), = factor * (softmax(logits) - onehot(target)); null: not wanted
};

template <typename A>
void cross_entropy(const CrossEntropy<A>& params, Stream stream);

// total[0] = factor * (sum of nats[0, rows)), in a fixed order. Total is float or double.
template <typename Total>
void sum_nats(const double* nats, std::int64_t rows, double factor, Total* total, Stream stream);

// values[i] *= factor[0], for `count` values; costs next to nothing where factor[0] is 1.
template <typename A>
void scale_unless_one(A* values, std::int64_t count, const ComputeType<A>* factor, Stream stream);

}  // namespace rondo::cuda
