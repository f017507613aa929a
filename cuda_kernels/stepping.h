// GPU kernels of ops/stepping.h, and of lstm_step in ops/lstm.h: one position of a batch of
// streams, f32. Device pointers, unless said; none may be null unless said; results overlap no
// input unless said.
#pragma once

#include <cstdint>

#include "core/cuda.h"
#include "core/scalar/sru_step.h"

namespace rondo::cuda {

// y = x W^T + bias. Sums run in one order, which depends on `in` alone.
struct LinearStep {
  const float* x;       // (streams, in)
  const float* weight;  // (out, in)
  const float* bias;    // (out), or null for none
  float* y;             // (streams, out), =
  std::int64_t streams, out, in;
};
void linear_step(const LinearStep& step, Stream stream);

// y = LayerNorm of the rows of x. y may be x.
struct LayerNormStep {
  const float* x;       // (streams, n)
  const float* weight;  // (n)
  const float* bias;    // (n)
  float* y;             // (streams, n), =
  std::int64_t streams, n;
  float eps;
};
void layer_norm_step(const LayerNormStep& step, Stream stream);

// y = the rows of weight (V, d) that `ids` name. ids (streams) are on the CPU, in [0, V), and have
// been read when this returns: they travel as arguments of the launch. y (streams, d), =.
void embedding_step(const std::int32_t* ids, const float* weight, float* y, std::int64_t streams,
                    std::int64_t d, Stream stream);

// y = a + *alpha * b, all of `count` elements but alpha, which is one. y may be a or b.
void add_scaled_step(const float* a, const float* alpha, const float* b, float* y,
                     std::int64_t count, Stream stream);

// y (streams, size) += the sum of gelu over the chunks of x (streams, chunks, size).
void add_gelu_chunks_step(const float* x, float* y, std::int64_t streams, std::int64_t chunks,
                          std::int64_t size, Stream stream);

// A step of the recurrence. c is moved on in place.
struct SruStep {
  const float* u;       // (streams, planes, units)
  const float* x;       // (streams, units): the skip term where planes is 3; null for none
  const float* weight;  // (2, units): forget, reset
  const float* bias;    // (2, units)
  float* c;             // (streams, units), read and =
  float* h;             // (streams, units), =
  std::int64_t streams, units, planes;
  float scale_x;  // factor of x
  Activation activation;
  bool has_skip_term;
};
void sru_step(const SruStep& step, Stream stream);

// A step of the LSTM. h and c are moved on in place. Gates lie in planes, i | f | g | o.
struct LstmStep {
  const float* gates_of_x;  // (streams, 4, units): before activation, one summand, with the bias
  const float* gates_of_h;  // (streams, 4, units): the other
  float* h;                 // (streams, units), =
  float* c;                 // (streams, units), read and =
  std::int64_t streams, units;
};
void lstm_step(const LstmStep& step, Stream stream);

}  // namespace rondo::cuda
