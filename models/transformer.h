// A causal Transformer decoder (Vaswani et al. 2017): a baseline to compare SRU++ with.
#pragma once

#include "models/positions.h"
#include "models/recurrent_stack.h"
#include "models/transformer_parts.h"

namespace rondo {

// x + dropout(attention(LayerNorm(x)) W_o), then x + dropout(feed-forward(LayerNorm(x))): LayerNorm
// stands before each part (Xiong et al. 2020), which trains without warm-up and at any depth.
struct TransformerLayer {
  LayerNorm attention_norm;
  Linear query, key_value, output;  // (n, d), (2n, d), (d, n)
  LayerNorm feed_forward_norm;
  FeedForward feed_forward;

  TransformerLayer(const TransformerOptions& options, Initializer& init);

  // Keys and values (T, B, 2n) go to `kv`, where given.
  Variable forward(const Variable& x, const TransformerOptions& options,
                   const ForwardContext& context, Variable* kv = nullptr) const;
  Parameters parameters() const;
};

// x sqrt(d) + sinusoids of absolute positions, then layers, then a last LayerNorm. Embedding rows
// start with variance 1 / d: the factor brings them to the size of the sinusoids.
//
// The first position of what is read at once counts 0. In training that is the segment, and memory
// is ignored. In evaluation with a window of W (AttentionMask.window), memory is the inputs of the
// first layer: the last W - T of them are read again before the segment of T, in front of which
// they stand. Segments of W / 2 (evaluation_segment) give every position at least W / 2 before it,
// where there are as many, and no position number beyond W - 1.
class TransformerStack final : public RecurrentStack {
 public:
  TransformerStack(const TransformerOptions& options, Initializer& init);

  // Throws Error for a state of another type of model, and for padding, which is not known here.
  StackOutputs forward(const StackInputs& inputs, const ForwardContext& context) const override;
  // In f32. Keys and values of the positions since the last restart are kept: when these are
  // `window`, the last half of them is read again as positions 0, 1, ..., which takes as long as
  // reading a segment and allocates; other steps do not.
  std::unique_ptr<StackStepper> stepper(std::int64_t streams, std::int64_t window) const override;
  Parameters parameters() const override;

  std::int64_t num_layers() const override { return options_.num_layers; }
  std::int64_t output_size() const override { return options_.hidden_size; }
  bool attends(std::int64_t layer) const override { return layer == 0; }
  bool carries_c() const override { return false; }
  std::int64_t evaluation_segment(std::int64_t window) const override { return (window + 1) / 2; }

 private:
  class Stepper;  // models/transformer_stepper.cpp

  // x (T, B, d) sqrt(d) + the sinusoids of positions 0, 1, ...
  Variable with_positions(const Variable& x) const;

  TransformerOptions options_;
  Sinusoids sinusoids_;
  std::vector<TransformerLayer> layers_;
  LayerNorm last_norm_;
};

}  // namespace rondo
