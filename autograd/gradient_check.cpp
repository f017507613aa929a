#include "autograd/gradient_check.h"

#include <cmath>

#include "core/random.h"

namespace rondo {
namespace {

double weighted_sum(const std::vector<Variable>& outputs, const std::vector<Tensor>& weights) {
  double sum = 0.0;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Tensor output = outputs[i].value().to(Device::cpu());
    const auto values = output.values<double>();
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
    backward(i == 0 ? outputs[0] : function(inputs)[i], weights[i].to(outputs[i].device()));
  }

  double worst = 0.0;
  std::string report;
  const NoGradGuard no_grad;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].requires_grad()) {
      continue;
    }
    Tensor input = inputs[i].value();
    Tensor changed = input.to(Device::cpu()).clone();
    const Tensor grad = inputs[i].grad().defined() ? inputs[i].grad().to(Device::cpu()) : Tensor();
    const auto values = changed.values<double>();
    const auto sum_with = [&](std::size_t j, double value) {
      values[j] = value;
      input.copy_from(changed);
      return weighted_sum(function(inputs), weights);
    };
    for (std::size_t j = 0; j < values.size(); ++j) {
      const double saved = values[j];
      const double above = sum_with(j, saved + options.step);
      const double below = sum_with(j, saved - options.step);
      values[j] = saved;
      const double numeric = (above - below) / (2 * options.step);
      const double analytic = grad.defined() ? grad.values<double>()[j] : 0.0;
      const double excess =
          std::abs(analytic - numeric) / (options.absolute + options.relative * std::abs(numeric));
      if (!(excess <= 1.0) && !(excess <= worst)) {
        worst = excess;
        report = fmt::format("input {} element {}: backward gave {}, central differences {}", i, j,
                             analytic, numeric);
      }
    }
    input.copy_from(changed);  // as it was
  }
  return report;
}

}  // namespace rondo
