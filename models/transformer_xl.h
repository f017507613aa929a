// Transformer-XL (Dai et al. 2019): the baseline that the SRU++ paper compares with.
#pragma once

#include "models/positions.h"
#include "models/recurrent_stack.h"
#include "models/transformer_parts.h"

namespace rondo {

// a = LayerNorm(x + dropout(attention W_o)), y = LayerNorm(a + dropout(feed-forward(a))): LayerNorm
// after each part, as in the original. Attention is that of ops/relative_attention.h: q from x,
// keys and values from [memory ; x], r from the sinusoids of distances; no product has a bias.
struct TransformerXlLayer {
  Linear query, key_value, position, output;  // (n, d), (2n, d), (n, d), (d, n)
  Variable content_bias, position_bias;       // u and v, (heads, head size)
  LayerNorm attention_norm;
  FeedForward feed_forward;
  LayerNorm feed_forward_norm;

  TransformerXlLayer(const TransformerOptions& options, Initializer& init);
  Parameters parameters() const;
};

// x sqrt(d), then layers. Every layer remembers its own inputs of earlier positions, cut from the
// graph. `dropout` is also applied to the sinusoids. Weights start Xavier uniform, u and v at zero.
class TransformerXlStack final : public RecurrentStack {
 public:
  TransformerXlStack(const TransformerOptions& options, Initializer& init);

  // Throws Error for a state of another type of model, and for padding, which is not known here.
  StackOutputs forward(const StackInputs& inputs, const ForwardContext& context) const override;
  std::unique_ptr<StackStepper> stepper(std::int64_t streams, std::int64_t window) const override;
  Parameters parameters() const override;

  std::int64_t num_layers() const override { return options_.num_layers; }
  std::int64_t output_size() const override { return options_.hidden_size; }
  bool attends(std::int64_t /*layer*/) const override { return true; }
  bool carries_c() const override { return false; }

 private:
  class Stepper;  // models/transformer_xl_stepper.cpp

  Variable scaled(const Variable& x) const;

  TransformerOptions options_;
  Sinusoids sinusoids_;
  std::vector<TransformerXlLayer> layers_;
};

}  // namespace rondo
