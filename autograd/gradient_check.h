// Compares gradients from backward() with central differences.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "autograd/variable.h"

namespace rondo {

struct GradientCheckOptions {
  double step = 1e-6;
  double absolute = 1e-5;
  double relative = 1e-3;
};

// Checks d(sum of output * fixed random weights)/d(input) for every element of every input that
// requires a gradient. `function` must be deterministic and all inputs f64. Returns an empty string
// if |difference| <= absolute + relative * |numeric| everywhere, else a description of the worst
// element.
std::string check_gradients(
    const std::function<std::vector<Variable>(std::span<const Variable>)>& function,
    std::vector<Variable> inputs, const GradientCheckOptions& options = {});

}  // namespace rondo
