// Operations on one position of a batch of streams: what generation does for every id. They are the
// formulas of ops/linear.h, ops/layer_norm.h, ops/embedding.h and ops/sru_scan.h without gradients;
// results go into tensors that the caller keeps, and nothing is allocated. All tensors are f32 on
// one device, the CPU or a GPU. What becomes of one stream does not depend on the others, bit for
// bit.
#pragma once

#include "core/tensor.h"
#include "ops/sru_scan.h"

namespace rondo {

// y (B, out) = x (B, in) W^T + bias, with W (out, in) and bias (out), undefined for none. W is read
// once for all streams.
void linear_step(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y);

// y (B, n) = LayerNorm of the rows of x (B, n), with weight and bias (n). y may be x.
void layer_norm_step(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y,
                     double eps = 1e-5);

// y (B, d) = the rows of weight (V, d) that ids (B), i32, name. ids are on the CPU, where the next
// byte of a text is chosen; they may change as soon as this returns.
void embedding_step(const Tensor& ids, const Tensor& weight, Tensor& y);

// y = a + alpha * b, with alpha (1). y may be a or b.
void add_scaled_step(const Tensor& a, const Tensor& alpha, const Tensor& b, Tensor& y);

// y (B, d) += the sum over c of gelu(x[:, c*d : (c+1)*d]): the chunks of x (B, c*d), which a
// feed-forward part adds up instead of multiplying them (models/sha_lstm.h).
void add_gelu_chunks_step(const Tensor& x, Tensor& y);

// x = max(x, 0)
void relu_step(Tensor& x);

// One step of the recurrence: u (B, k*D), x (B, D) or undefined, weight_c (2*D) and bias (2*D) as
// in SruScanInputs; c (B, D) is moved on, h (B, D) written. One direction only.
void sru_step(const Tensor& u, const Tensor& x, const Tensor& weight_c, const Tensor& bias,
              const SruScanOptions& options, Tensor& c, Tensor& h);

}  // namespace rondo
