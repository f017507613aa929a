// Layer normalisation on a GPU; ops/layer_norm.h has the equations. Device pointers, row-major. A
// is the type of activations: float, double, bfloat16 or float16.
#pragma once

#include <cstdint>

#include "core/cuda.h"
#include "core/half.h"

namespace rondo::cuda {

template <typename A>
struct LayerNormForward {
  std::int64_t rows = 0;  // 0 will do
  std::int64_t n = 0;     // at least 1
  ComputeType<A> eps{};
  const A* x = nullptr;                    // (rows, n)
  const ComputeType<A>* weight = nullptr;  // (n)
  const ComputeType<A>* bias = nullptr;    // (n)
  A* y = nullptr;                          // (rows, n), =; may be x
  ComputeType<A>* means = nullptr;         // (rows), =
  ComputeType<A>* inverses = nullptr;      // (rows), = 1 / sqrt(variance + eps)
};

template <typename A>
void layer_norm_forward(const LayerNormForward<A>& params, Stream stream);

// The blocks of rows that have sums of their own for the gradients of weight and bias. They depend
// on nothing but the rows.
std::int64_t layer_norm_blocks(std::int64_t rows);

template <typename A>
struct LayerNormBackward {
  std::int64_t rows = 0;
  std::int64_t n = 0;
  const A* x = nullptr;                      // (rows, n), as in forward
  const ComputeType<A>* weight = nullptr;    // (n)
  const A* grad_y = nullptr;                 // (rows, n)
  const ComputeType<A>* means = nullptr;     // (rows), of forward
  const ComputeType<A>* inverses = nullptr;  // (rows), of forward
  A* grad_x = nullptr;                       // (rows, n), =; null: not wanted; may be grad_y
  // All three null: not wanted.
  ComputeType<A>* partial_sums = nullptr;  // scratch, (layer_norm_blocks(rows), 2, n)
  ComputeType<A>* grad_weight = nullptr;   // (n), =
  ComputeType<A>* grad_bias = nullptr;     // (n), =
};

template <typename A>
void layer_norm_backward(const LayerNormBackward<A>& params, Stream stream);

}  // namespace rondo::cuda
