// The elementwise recurrence of SRU and SRU++ over a whole sequence.
#pragma once

#include "autograd/variable.h"
#include "core/scalar/sru_step.h"

namespace rondo {

struct SruScanOptions {
  Activation activation = Activation::identity;
  bool has_skip_term = true;
  bool bidirectional = false;  // the second half of the units runs from the last step to the first
  double scale_x = 1.0;        // factor of the skip term when it is x (k = 3)
};

struct SruScanInputs {
  Variable u;         // (T, B, k*D): planes u0 | u1 | u2 [| u3], D units each
  Variable x;         // (T, B, D): the skip term when k = 3; undefined when k = 4 or without one
  Variable weight_c;  // (2*D): v_f | v_r; or one for every position, (T, B, 2*D)
  Variable bias;      // (2*D): b_f | b_r
  Variable c0;        // (B, D); undefined for zeros
  Tensor mask_c;      // (B, D): variational dropout of the state; undefined for ones
  Tensor mask_pad;    // (T, B), bool: true is padding; undefined for none
};

struct SruScanOutputs {
  Variable h;       // (T, B, D)
  Variable c_last;  // (B, D): of the last step (the first, for units that run backwards)
};

// For every batch entry and unit (paper section 3; reference: elementwise_recurrence):
//
//   f_t = sigmoid(u1_t + v_f c_{t-1} + b_f)
//   r_t = sigmoid(u2_t + v_r c_{t-1} + b_r)
//   c_t = u0_t + (c_{t-1} - u0_t) f_t
//   h_t = x'_t + (g(c_t) - x'_t) m r_t     with the skip term x' = scale_x x, or u3 when k = 4
//   h_t = g(c_t) m r_t                     without it
//
// At a padded position c is carried over, h is 0, and no gradient flows in. D counts the units of
// both directions. The gradient keeps c of every step and recomputes the gates.
//
// f32 or f64; on a GPU u, x and h can be bf16 or f16, and all else is f32 then, the state and sums
// over time too; only the c that the gradient keeps have the type of u.
SruScanOutputs sru_scan(const SruScanInputs& inputs, const SruScanOptions& options = {});

}  // namespace rondo
