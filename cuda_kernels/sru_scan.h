// The SRU recurrence on a GPU; ops/sru_scan.h has the equations. Activations are of type A: float,
// double, bfloat16 or float16. The state, parameters, their gradients and all sums are of type
// ComputeType<A>. Every tensor is contiguous; none overlaps another.
#pragma once

#include <cstdint>

#include "core/cuda.h"
#include "core/half.h"
#include "core/scalar/sru_step.h"

namespace rondo::cuda {

// What both passes read.
template <typename A>
struct SruScan {
  std::int64_t steps = 0, batch = 0, units = 0;  // T, B, D
  std::int64_t planes = 3;                       // k
  Activation activation = Activation::identity;
  bool has_skip_term = true;
  bool bidirectional = false;
  bool weight_per_step = false;
  ComputeType<A> scale_x = 1;  // must be 1 when k = 4

  const A* u = nullptr;                      // (T, B, k*D)
  const A* x = nullptr;                      // (T, B, D); null when k = 4 or without a skip term
  const ComputeType<A>* weight_c = nullptr;  // (2*D), or (T, B, 2*D) when weight_per_step
  const ComputeType<A>* bias = nullptr;      // (2*D)
  const ComputeType<A>* c0 = nullptr;        // (B, D); null for zeros
  const ComputeType<A>* mask_c = nullptr;    // (B, D); null for ones
  const bool* mask_pad = nullptr;            // (T, B); null for none

  int multiprocessors = 1;  // of the device: how far ahead to read depends on it, results do not
};

template <typename A>
struct SruScanForward : SruScan<A> {
  A* h = nullptr;                    // = (T, B, D)
  ComputeType<A>* c_last = nullptr;  // = (B, D)
  A* c_all = nullptr;                // = (T, B, D), c of every step; null if backward will not run
};

template <typename A>
struct SruScanBackward : SruScan<A> {
  const A* c_all = nullptr;                     // (T, B, D), from the forward pass
  const A* grad_h = nullptr;                    // (T, B, D)
  const ComputeType<A>* grad_c_last = nullptr;  // (B, D); null for zeros

  A* grad_u = nullptr;                      // = (T, B, k*D)
  A* grad_x = nullptr;                      // = (T, B, D); null when x is, or if it is not wanted
  ComputeType<A>* grad_weight_c = nullptr;  // = the shape of weight_c
  ComputeType<A>* grad_bias = nullptr;      // = (2*D)
  ComputeType<A>* grad_c0 = nullptr;        // = (B, D); null if it is not wanted
  ComputeType<A>* sums = nullptr;           // scratch, (B, 4*D)
};

template <typename A>
void sru_scan_forward(const SruScanForward<A>& scan, Stream stream);
template <typename A>
void sru_scan_backward(const SruScanBackward<A>& scan, Stream stream);

}  // namespace rondo::cuda
