// The LSTM with a single head of attention in one layer, SHA-RNN (Merity, "Single Headed Attention
// RNN: Stop Thinking With Your Head", arXiv 1911.11423): a baseline beside SRU++.
//
// A layer, with LN a LayerNorm of its own wherever it stands:
//
//   h = dropout(LSTM(LN x))
//   where it attends, over [memory ; segment], which m is the h of:
//     q = sigmoid(g_q) LN(W_q LN h + b_q);  k = sigmoid(g_k) LN m;  v = gate_v LN m
//     h = LN h + dropout(softmax(q k^T / sqrt(head size) + mask) v)
//   h = LN h + dropout(Boom(LN h))
//
// with gates g (D) that do not depend on the input, and with gate_v = sigmoid(f) tanh(c), where
// (c, f) = W_g sigmoid(g_v) + b_g: over-parameterised, as that helps to learn it. In each pair of
// LN h the two are different. Boom(b) = the sum over chunks of D of dropout(gelu(W b + b_w)): no
// second product. There is no residual around the LSTM, and nothing tells positions apart but the
// recurrence.
//
// What differs from the author's code: memory is h before its LayerNorm, normalised anew with the
// weights of today; the LSTM has one bias, not the sum of two; epsilon is 1e-5, not 1e-12; initial
// weights are uniform, not normal, of the same deviation; q and v have no dropout of their own; and
// attention may have several heads.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "models/linear.h"
#include "models/lstm.h"

namespace rondo {

struct ShaLstmOptions {
  std::int64_t hidden_size = 0;  // D, of the input, too
  std::int64_t num_layers = 1;
  std::int64_t inner_size = 0;  // inside Boom; a multiple of D
  std::int64_t num_heads = 1;
  double dropout = 0.0;
  double attention_dropout = 0.0;  // on attention weights
  // Whether layer i (from 0) attends; unset: the last but one, as in the paper.
  std::function<bool(std::int64_t layer)> attends = {};
};

struct ShaAttentionWeights {
  LayerNorm residual_norm, memory_norm;         // of h; of m
  Variable query_weight, query_bias;            // (D, D), (D)
  LayerNorm query_norm;                         // of their product
  Variable query_gate, key_gate, value_gate;    // (D), before their sigmoid
  Variable value_gate_weight, value_gate_bias;  // (2*D, D), (2*D)

  ShaAttentionWeights(std::int64_t hidden_size, Initializer& init);
  Parameters parameters() const;

  // The gates as parts of the LayerNorms before them. That of the keys multiplies queries instead,
  // which comes to the same.
  struct Gated {
    Variable query_weight, query_bias;  // (D), instead of those of query_norm
    Variable value_weight, value_bias;  // (D), instead of those of memory_norm
  };
  Gated gated() const;
};

struct ShaLstmLayerWeights {
  LayerNorm input_norm;
  LstmLayerWeights lstm;
  std::optional<ShaAttentionWeights> attention;
  LayerNorm boom_residual_norm, boom_norm;
  Variable boom_weight, boom_bias;  // (inner, D), (inner)

  ShaLstmLayerWeights(const ShaLstmOptions& options, bool attends, Initializer& init);
  Parameters parameters() const;
};

class ShaLstmStack final : public RecurrentStack {
 public:
  ShaLstmStack(const ShaLstmOptions& options, Initializer& init);

  // The state is c and h of every LSTM. Memory, as `inputs` of the outputs, holds m of the layers
  // that attend. Padding does not exist: throws Error when a mask is given.
  StackOutputs forward(const StackInputs& inputs, const ForwardContext& context) const override;
  // In f32, where the weights are.
  std::unique_ptr<StackStepper> stepper(std::int64_t streams, std::int64_t window) const override;
  Parameters parameters() const override;

  std::int64_t num_layers() const override { return static_cast<std::int64_t>(layers_.size()); }
  std::int64_t output_size() const override { return options_.hidden_size; }
  bool attends(std::int64_t layer) const override {
    return layers_[static_cast<std::size_t>(layer)].attention.has_value();
  }

 private:
  ShaLstmOptions options_;
  std::vector<ShaLstmLayerWeights> layers_;
};

}  // namespace rondo
