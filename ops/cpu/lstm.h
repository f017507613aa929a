// The LSTM step over units of one batch entry: a plain loop for f64, and a vectorised one for f32.
#pragma once

#include <cstdint>

#include "core/scalar/lstm_step.h"

namespace rondo::cpu {

// Every pointer is to the first of `n` units; those of gates and bias are to the plane of i, with
// those of f, g and o each `plane` elements further. Nothing overlaps unless said.
template <typename T>
struct LstmForwardRow {
  std::int64_t plane;
  const T* raw;   // the gates before bias and activation
  const T* bias;  // added to them
  T* gates;       // after activation, for backward; may be `raw`; null for none
  T* c;           // in: c_{t-1}, out: c_t
  T* c_kept;      // a copy of c_t for backward; null for none
  T* h;
};

template <typename T>
struct LstmBackwardRow {
  std::int64_t plane;
  T* gates;  // in: after activation, out: their gradients before activation
  const T* c_previous;
  const T* grad_h;          // of h_t, from what reads the layer
  const T* grad_recurrent;  // of h_t, from step t + 1; null for zeros
  T* grad_c;                // in: of c_t, from step t + 1, out: of c_{t-1}
};

// f32 on vectors of the widest instruction set of this processor.
void lstm_forward_row(const LstmForwardRow<float>& row, std::int64_t n);
void lstm_backward_row(const LstmBackwardRow<float>& row, std::int64_t n);
// f64 is for checks, and plain: the specification.
void lstm_forward_row(const LstmForwardRow<double>& row, std::int64_t n);
void lstm_backward_row(const LstmBackwardRow<double>& row, std::int64_t n);

}  // namespace rondo::cpu
