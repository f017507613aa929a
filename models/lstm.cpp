#include "models/lstm.h"

#include <algorithm>
#include <cmath>

#include "ops/lstm.h"
#include "ops/stepping.h"

namespace rondo {
namespace {

class LstmStepper final : public StackStepper {
 public:
  LstmStepper(const std::vector<LstmLayerWeights>& layers, std::int64_t streams) {
    for (const LstmLayerWeights& layer : layers) {
      layers_.emplace_back(layer, streams);
    }
  }

  const Tensor& step(const Tensor& x) override {
    const Tensor* h = &x;
    for (LstmLayerStepper& layer : layers_) {
      h = &layer.step(*h);
    }
    return *h;
  }

  void restore(const std::vector<Tensor>& c, const std::vector<Tensor>& h,
               const std::vector<Tensor>& /*memory*/) override {
    check(c.size() == layers_.size() && h.size() == layers_.size(),
          "[LstmStepper] {} c and {} h for {} layers", c.size(), h.size(), layers_.size());
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      layers_[i].restore(c[i], h[i]);
    }
  }

 private:
  std::vector<LstmLayerStepper> layers_;
};

// `from` is (B, D), or (1, D) for all streams.
void take_over(const Tensor& from, Tensor& to) {
  check(from.defined() && from.shape().rank() == 2 && from.size(1) == to.size(1) &&
            (from.size(0) == to.size(0) || from.size(0) == 1),
        "[LstmStepper] the state has shape {}; expected {}, or 1 stream",
        from.defined() ? from.shape().str() : "none", to.shape().str());
  for (std::int64_t s = 0; s < to.size(0); ++s) {
    to[s].copy_from(from[from.size(0) == 1 ? 0 : s]);
  }
}

}  // namespace

LstmLayerWeights::LstmLayerWeights(std::int64_t input_size, std::int64_t hidden_size,
                                   Initializer& init) {
  const double range = 1.0 / std::sqrt(static_cast<double>(hidden_size));
  weight_ih = init.uniform({4 * hidden_size, input_size}, range);
  weight_hh = init.uniform({4 * hidden_size, hidden_size}, range);
  bias = init.uniform({4 * hidden_size}, range);
}

Parameters LstmLayerWeights::parameters() const {
  return {{"weight_ih", weight_ih}, {"weight_hh", weight_hh}, {"bias", bias}};
}

LstmLayerStepper::LstmLayerStepper(LstmLayerWeights layer, std::int64_t streams)
    : layer_(std::move(layer)) {
  const std::int64_t units = layer_.weight_hh.size(1);
  const auto zeros = [&](std::int64_t size) {
    return Tensor::zeros({streams, size}, DType::f32, layer_.weight_hh.device());
  };
  gates_of_x_ = zeros(4 * units);
  gates_of_h_ = zeros(4 * units);
  h_ = zeros(units);
  c_ = zeros(units);
}

const Tensor& LstmLayerStepper::step(const Tensor& x) {
  linear_step(x, layer_.weight_ih.value(), layer_.bias.value(), gates_of_x_);
  linear_step(h_, layer_.weight_hh.value(), Tensor(), gates_of_h_);
  lstm_step(gates_of_x_, gates_of_h_, h_, c_);
  return h_;
}

void LstmLayerStepper::restore(const Tensor& c, const Tensor& h) {
  take_over(c, c_);
  take_over(h, h_);
}

LstmStack::LstmStack(const LstmOptions& options, Initializer& init) : options_(options) {
  constexpr std::int64_t kMost = std::int64_t{1} << 28;  // so that sizes of planes do not overflow
  const auto possible = [](std::int64_t size) { return size >= 1 && size <= kMost; };
  check(
      possible(options.num_layers) && possible(options.input_size) && possible(options.hidden_size),
      "[LstmStack] layers, input size and hidden size must be from 1 to {}, found {}, {} and {}",
      kMost, options.num_layers, options.input_size, options.hidden_size);
  for (std::int64_t i = 0; i < options.num_layers; ++i) {
    layers_.emplace_back(i == 0 ? options.input_size : options.hidden_size, options.hidden_size,
                         init);
  }
}

StackOutputs LstmStack::forward(const StackInputs& inputs, const ForwardContext& context) const {
  check(inputs.x.shape().rank() == 3 && inputs.x.size(2) == options_.input_size,
        "[LstmStack] x has shape {}; expected (T, B, {})", inputs.x.shape().str(),
        options_.input_size);
  check(inputs.c0.size() == inputs.h0.size() &&
            (inputs.c0.empty() || inputs.c0.size() == layers_.size()),
        "[LstmStack] the state has {} c and {} h for {} layers", inputs.c0.size(), inputs.h0.size(),
        layers_.size());
  check(std::none_of(inputs.memory.begin(), inputs.memory.end(),
                     [](const Variable& memory) { return memory.defined(); }),
        "[LstmStack] the state has a memory, which an LSTM does not look at");
  check(!inputs.mask_pad.defined() && !inputs.memory_mask_pad.defined(),
        "[LstmStack] padding was given, which an LSTM does not know here");

  StackOutputs out;
  Variable x = inputs.x;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (i > 0) {
      x = dropout_in_training(x, options_.dropout, context);
    }
    out.inputs.push_back(x);
    const LstmLayerWeights& layer = layers_[i];
    const LstmOutputs result = lstm({x, layer.weight_ih, layer.weight_hh, layer.bias,
                                     inputs.h0.empty() ? Variable() : inputs.h0[i],
                                     inputs.c0.empty() ? Variable() : inputs.c0[i]},
                                    context.precision);
    out.c.push_back(result.c_last);
    out.h_last.push_back(result.h_last);
    x = result.h;
  }
  out.h = x;
  return out;
}

std::unique_ptr<StackStepper> LstmStack::stepper(std::int64_t streams,
                                                 std::int64_t /*window*/) const {
  const Tensor& weight = layers_.front().weight_hh.value();
  check(weight.dtype() == DType::f32 && !weight.device().is_meta(),
        "[LstmStack] the weights are {} on {}; stepping needs f32 weights, on the CPU or a GPU",
        name(weight.dtype()), weight.device().str());
  return std::make_unique<LstmStepper>(layers_, streams);
}

Parameters LstmStack::parameters() const {
  Parameters all;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    append(all, fmt::format("layers.{}", i), layers_[i].parameters());
  }
  return all;
}

}  // namespace rondo
