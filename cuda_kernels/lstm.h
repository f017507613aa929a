// GPU kernels of the LSTM step: what is left of it after the products with the weights
// (cuda_kernels/gemm.h). Device pointers. A is the type of activations: float, double, bfloat16 or
// float16.
#pragma once

#include <cstdint>

#include "core/cuda.h"
#include "core/half.h"

namespace rondo::cuda {

// Gates lie in planes: (batch, 4 * units), i | f | g | o.
template <typename A>
struct LstmForward {
  std::int64_t batch = 0;
  std::int64_t units = 0;
  const ComputeType<A>* raw = nullptr;   // (batch, 4 * units): gates before bias and activation
  const ComputeType<A>* bias = nullptr;  // (4 * units), or (batch, 4 * units) as said below
  ComputeType<A>* c = nullptr;           // (batch, units): in c_{t-1}, out (=) c_t
  A* h = nullptr;                        // (batch, units): = h_t
  // For the backward pass; both null where there is none.
  A* gates = nullptr;   // (batch, 4 * units): = gates after activation; may be `raw`
  A* c_kept = nullptr;  // (batch, units): = c_t
  // Elements from the bias of one row to that of the next: 0, or 4 * units where each has its own.
  std::int64_t bias_stride = 0;
};

template <typename A>
void lstm_forward(const LstmForward<A>& step, Stream stream);

template <typename A>
struct LstmBackward {
  std::int64_t batch = 0;
  std::int64_t units = 0;
  // (batch, 4 * units): in the gates after activation, out (=) their gradients before activation
  A* gates = nullptr;
  const A* c_previous = nullptr;  // (batch, units)
  const A* grad_h = nullptr;      // (batch, units): from what reads the layer
  const ComputeType<A>* grad_recurrent =
      nullptr;                       // (batch, units): from step t + 1; null for zeros
  ComputeType<A>* grad_c = nullptr;  // (batch, units): in of c_t, out (=) of c_{t-1}
};

template <typename A>
void lstm_backward(const LstmBackward<A>& step, Stream stream);

}  // namespace rondo::cuda
