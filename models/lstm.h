// A stack of LSTM layers: the baseline to compare SRU and SRU++ with.
#pragma once

#include "models/recurrent_stack.h"

namespace rondo {

struct LstmOptions {
  std::int64_t input_size = 0;
  std::int64_t hidden_size = 0;  // D: units of a layer
  std::int64_t num_layers = 1;
  double dropout = 0.0;  // between layers
};

// One LSTM layer (ops/lstm.h). All starts uniform in +-1/sqrt(D), as in PyTorch, where two biases
// are added up.
struct LstmLayerWeights {
  Variable weight_ih, weight_hh;  // (4*D, input), (4*D, D)
  Variable bias;                  // (4*D)

  LstmLayerWeights(std::int64_t input_size, std::int64_t hidden_size, Initializer& init);
  Parameters parameters() const;
};

// A layer that takes a batch of streams one position at a time, from zeros. Shares the weights of
// `layer`, which are f32 and say on which device it steps.
class LstmLayerStepper {
 public:
  LstmLayerStepper(LstmLayerWeights layer, std::int64_t streams);

  // h (B, D) of the next position from x (B, input); the next call overwrites it.
  const Tensor& step(const Tensor& x);
  // Goes on where a parallel pass ended: c and h (B, D), or (1, D) for all streams.
  void restore(const Tensor& c, const Tensor& h);

 private:
  LstmLayerWeights layer_;
  Tensor gates_of_x_, gates_of_h_;  // (B, 4*D)
  Tensor h_, c_;                    // (B, D)
};

// h -> LSTM -> dropout -> LSTM ... without dropout after the last; what nn.LSTM of PyTorch is.
class LstmStack final : public RecurrentStack {
 public:
  LstmStack(const LstmOptions& options, Initializer& init);

  // Padding and attention do not exist: throws Error when a mask or memory is given.
  StackOutputs forward(const StackInputs& inputs, const ForwardContext& context) const override;
  // In f32, where the weights are. `window` does not matter: there is nothing to look back to.
  std::unique_ptr<StackStepper> stepper(std::int64_t streams, std::int64_t window) const override;
  Parameters parameters() const override;

  std::int64_t num_layers() const override { return static_cast<std::int64_t>(layers_.size()); }
  std::int64_t output_size() const override { return options_.hidden_size; }
  bool attends(std::int64_t /*layer*/) const override { return false; }

 private:
  LstmOptions options_;
  std::vector<LstmLayerWeights> layers_;
};

}  // namespace rondo
