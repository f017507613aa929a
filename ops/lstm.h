// A layer of long short-term memory (LSTM) over a whole sequence: the baseline beside SRU.
#pragma once

#include <cstdint>

#include "autograd/variable.h"
#include "core/precision.h"

namespace rondo {

struct LstmInputs {
  Variable x;          // (T, B, d), T and B at least 1: activations
  Variable weight_ih;  // (4*D, d): rows of i | f | g | o, D each
  Variable weight_hh;  // (4*D, D)
  Variable bias;       // (4*D)
  Variable h0;         // (B, D); undefined for zeros
  Variable c0;         // (B, D); undefined for zeros
};

struct LstmOutputs {
  Variable h;       // (T, B, D), of the type of x
  Variable h_last;  // (B, D), of the type of h0
  Variable c_last;  // (B, D)
};

// Which kernels a layer on a GPU takes.
enum class LstmKernels : std::uint8_t {
  automatic,  // cuDNN's where lstm_uses_cudnn, else our own
  own,
};

// For every batch entry, with the order of gates of PyTorch and cuDNN, but one bias, the sum of
// their two:
//
//   i, f, g, o = weight_ih x_t + weight_hh h_{t-1} + bias
//   c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g)
//   h_t = sigmoid(o) tanh(c_t)
//
// On the CPU all tensors are f32 or f64, and `precision` may be bf16 (with f32): operands of the
// products are then rounded to it. On a GPU x may also be bf16 or f16, with all else f32; products
// then have operands of that type, and `precision` only says whether f32 ones may be rounded to
// tf32. The gradient keeps h, c and the gates of every step.
LstmOutputs lstm(const LstmInputs& inputs, Precision precision = Precision::f32,
                 LstmKernels kernels = LstmKernels::automatic);

// Whether `lstm` of x with this type and device runs through cuDNN: it is built in, it can be
// loaded, and it knows the type.
bool lstm_uses_cudnn(DType type, Device device);

// One position of a batch of streams, as generation needs it (ops/stepping.h): moves h and c (B, D)
// on, from gates (B, 4*D), the products with x and h and the bias in two summands. f32, without
// gradients; allocates nothing. A text does not depend on those beside it, bit for bit.
void lstm_step(const Tensor& gates_of_x, const Tensor& gates_of_h, Tensor& h, Tensor& c);

}  // namespace rondo
