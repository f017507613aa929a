// What the two ways to compute an LSTM layer share: our own kernels (ops/lstm.cpp) and cuDNN's
// (ops/lstm_cudnn.cpp).
#pragma once

#include <vector>

#include "core/precision.h"
#include "core/tensor.h"

namespace rondo {

// The type of weights and states beside activations of `type`.
inline DType lstm_parameter_type(DType type) {
  return type == DType::f64 ? DType::f64 : DType::f32;
}

// Checked inputs of one call. What products are made of has the type of the activations.
struct LstmLayer {
  std::int64_t steps, batch, units;
  Precision precision;
  Tensor x, weight_ih, weight_hh;
  Tensor bias;
  Tensor h0;  // of the type of x
  Tensor c0;

  DType type() const { return x.dtype(); }
  Tensor empty(const Shape& shape, DType dtype) const {
    return Tensor::empty(shape, dtype, x.device());
  }
};

// Which gradients are wanted, in the order of LstmInputs.
struct LstmWants {
  bool x, weight_ih, weight_hh, bias, h0, c0;
};

struct LstmResult {
  Tensor h, h_last, c_last;
  std::vector<Tensor> kept;  // what backward needs, empty without it
};

// Gradients of h, h_last and c_last; undefined for zeros, but for that of h.
struct LstmGradOutputs {
  Tensor h, h_last, c_last;
};

}  // namespace rondo
