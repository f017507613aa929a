#include "models/module.h"

#include <cmath>

#include "ops/dropout.h"

namespace rondo {

void append(Parameters& into, std::string_view prefix, const Parameters& from) {
  for (const NamedVariable& parameter : from) {
    into.push_back({fmt::format("{}.{}", prefix, parameter.name), parameter.variable});
  }
}

std::int64_t count(const Parameters& parameters) {
  std::int64_t elements = 0;
  for (const NamedVariable& parameter : parameters) {
    elements += parameter.variable.value().numel();
  }
  return elements;
}

Variable Initializer::uniform(const Shape& shape, double range) {
  Tensor value = Tensor::empty(shape, dtype_, device_);
  fill_uniform(value, -range, range, generator_);
  return Variable(std::move(value), true);
}

Variable Initializer::xavier(std::int64_t out, std::int64_t in, double gain) {
  return uniform({out, in}, gain * std::sqrt(6.0 / static_cast<double>(in + out)));
}

Variable Initializer::constant(const Shape& shape, double value) {
  return Variable(Tensor::full(shape, value, dtype_, device_), true);
}

DType activation_type(const Variable& parameter, const ForwardContext& context) {
  return parameter.dtype() == DType::f32 ? activation_type(context.precision, parameter.device())
                                         : parameter.dtype();
}

Variable dropout_in_training(const Variable& x, double p, const ForwardContext& context) {
  if (!context.training || p == 0.0) {
    return x;
  }
  check(context.generator != nullptr, "[dropout] training with dropout {} needs a generator", p);
  return dropout(x, p, *context.generator);
}

}  // namespace rondo
