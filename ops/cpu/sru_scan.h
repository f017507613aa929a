// The SRU recurrence over the units of one (time, batch) row: a plain loop for f32 and f64, and the
// vectorised f32 one that training uses.
#pragma once

#include <cstdint>

#include "core/scalar/sru_step.h"

namespace rondo::cpu {

// Which formula a scan uses; fixed for all its rows.
struct SruVariant {
  Activation activation = Activation::identity;
  bool has_skip_term = true;
};

// What both directions read. Every pointer is to the first of `n` units; rows of one call do not
// overlap unless said.
template <typename T>
struct SruRow {
  const T* u0;
  const T* u1;
  const T* u2;
  const T* x;  // null without a skip term
  T scale_x;
  const T* weight_forget;
  const T* weight_reset;
  const T* bias_forget;
  const T* bias_reset;
  const T* mask;  // null for ones
  const T* c_previous;
  // Results are written past the cache, where their rows are aligned to whole vectors: for results
  // that would not stay there until they are read.
  bool streaming;
};

template <typename T>
struct SruForwardRow : SruRow<T> {
  T* c;  // may be c_previous
  T* h;
  T* c_kept;  // a copy of c for backward; null for none
};

template <typename T>
struct SruBackwardRow : SruRow<T> {
  const T* grad_h;
  T* grad_c;  // in: of c_t, out: of c_{t-1}
  T* grad_u0;
  T* grad_u1;
  T* grad_u2;
  T* grad_x;  // null when not wanted
  // These are added to.
  T* grad_weight_forget;
  T* grad_weight_reset;
  T* grad_bias_forget;
  T* grad_bias_reset;
};

// The plain loops: the specification.
template <typename T>
void sru_forward_row_plain(const SruForwardRow<T>& row, std::int64_t n, SruVariant variant);
template <typename T>
void sru_backward_row_plain(const SruBackwardRow<T>& row, std::int64_t n, SruVariant variant);

// The same on vectors of the widest instruction set of this processor. Gates differ from the plain
// loop by a few units in the last place (the exponential is Highway's, at most 1 ULP off).
void sru_forward_row(const SruForwardRow<float>& row, std::int64_t n, SruVariant variant);
void sru_backward_row(const SruBackwardRow<float>& row, std::int64_t n, SruVariant variant);
// To be called by a thread after its last row with `streaming`: other threads then see the results.
void finish_streaming();
// f64 is for checks, and plain.
void sru_forward_row(const SruForwardRow<double>& row, std::int64_t n, SruVariant variant);
void sru_backward_row(const SruBackwardRow<double>& row, std::int64_t n, SruVariant variant);

// Calls `body` with the variant as template arguments: body.operator()<activation,
// has_skip_term>().
template <typename Body>
void dispatch_variant(SruVariant variant, Body&& body) {
  if (variant.activation == Activation::identity) {
    variant.has_skip_term ? body.template operator()<Activation::identity, true>()
                          : body.template operator()<Activation::identity, false>();
  } else {
    variant.has_skip_term ? body.template operator()<Activation::tanh, true>()
                          : body.template operator()<Activation::tanh, false>();
  }
}

}  // namespace rondo::cpu
