#include "autograd/gradient_check.h"

#include <cmath>

#include "core/random.h"

namespace rondo {
namespace {

double weighted_sum(const std::vector<Variable>& outputs, const std::vector<Tensor>& weights) {
  double sum = 0.0;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto values = outputs[i].value().values<double>();
    const auto scale = weights[i].values<double>();
    for (std::size_t j = 0; j < values.size(); ++j) {
      sum += values[j] * scale[j];
    }
  }
  return sum;
}

}  // namespace

std::string check_gradients(
    const std::function<std::vector<Variable>(std::span<const Variable>)>& function,
    std::vector<Variable> inputs, const GradientCheckOptions& options) {
  for (Variable& input : inputs) {
    if (input.requires_grad()) {
      check(input.dtype() == DType::f64, "[check_gradients] inputs must be f64, found {}",
            name(input.dtype()));
      input.zero_grad();
    }
  }
  const std::vector<Variable> outputs = function(inputs);
  Generator generator(20210912);
  std::vector<Tensor> weights;
  for (const Variable& output : outputs) {
    weights.push_back(Tensor::empty(output.shape(), DType::f64));
    fill_uniform(weights.back(), -1.0, 1.0, generator);
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    // Each output is a root of its own; the history of all must survive, so run them afresh.
    backward(i == 0 ? outputs[0] : function(inputs)[i], weights[i]);
  }

  double worst = 0.0;
  std::string report;
  const NoGradGuard no_grad;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].requires_grad()) {
      continue;
    }
    const auto values = inputs[i].value().values<double>();
    for (std::size_t j = 0; j < values.size(); ++j) {
      const double saved = values[j];
      values[j] = saved + options.step;
      const double above = weighted_sum(function(inputs), weights);
      values[j] = saved - options.step;
      const double below = weighted_sum(function(inputs), weights);
      values[j] = saved;
      const double numeric = (above - below) / (2 * options.step);
      const double analytic =
          inputs[i].grad().defined() ? inputs[i].grad().values<double>()[j] : 0.0;
      const double excess =
          std::abs(analytic - numeric) / (options.absolute + options.relative * std::abs(numeric));
      if (!(excess <= 1.0) && !(excess <= worst)) {
        worst = excess;
        report = fmt::format("input {} element {}: backward gave {}, central differences {}", i, j,
                             analytic, numeric);
      }
    }
  }
  return report;
}

}  // namespace rondo
