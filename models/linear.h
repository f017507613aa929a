// The two small modules that everything else is made of.
#pragma once

#include "models/module.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/stepping.h"

namespace rondo {

// y = x W^T without a bias: every product inside SRU and SRU++.
struct Linear {
  Variable weight;  // (out, in)

  Linear(std::int64_t in, std::int64_t out, Initializer& init, double gain = 1.0)
      : weight(init.xavier(out, in, gain)) {}

  Variable operator()(const Variable& x, Precision precision) const {
    return linear(x, weight, Variable(), precision);
  }
  // Of several x, one after another in time.
  Variable operator()(const std::vector<Variable>& parts, Precision precision) const {
    return linear_of_parts(parts, weight, precision);
  }
  void step(const Tensor& x, Tensor& y) const { linear_step(x, weight.value(), Tensor(), y); }
  Parameters parameters() const { return {{"weight", weight}}; }
};

// LayerNorm with learned scale and bias, epsilon 1e-5.
struct LayerNorm {
  Variable weight, bias;  // (size)

  LayerNorm(std::int64_t size, Initializer& init)
      : weight(init.constant({size}, 1.0)), bias(init.constant({size}, 0.0)) {}

  Variable operator()(const Variable& x) const { return layer_norm(x, weight, bias); }
  void step(const Tensor& x, Tensor& y) const {
    layer_norm_step(x, weight.value(), bias.value(), y);
  }
  Parameters parameters() const { return {{"weight", weight}, {"bias", bias}}; }
};

}  // namespace rondo
