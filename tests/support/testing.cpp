#include "tests/support/testing.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace rondo::testing {

Tensor random_tensor(const Shape& shape, DType dtype, Generator& generator, double low, double high,
                     bool offset) {
  const DType drawn = dtype == DType::f64 ? DType::f64 : DType::f32;
  Tensor storage = Tensor::empty({shape.numel() + (offset ? 1 : 0)}, drawn, test_device());
  fill_uniform(storage, low, high, generator);
  return storage.to(dtype).narrow(offset ? 1 : 0, shape.numel()).reshape(shape);
}

Variable random_parameter(const Shape& shape, DType dtype, Generator& generator, double low,
                          double high, bool offset) {
  return Variable(random_tensor(shape, dtype, generator, low, high, offset), true);
}

double max_relative_error(const Tensor& a, const Tensor& b) {
  check_shape("max_relative_error", "a", a, b.shape());
  const Tensor wide_a = on_cpu(a).to(DType::f64);
  const Tensor wide_b = on_cpu(b).to(DType::f64);
  double worst = 0.0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    const double x = wide_a.data<double>()[i];
    const double y = wide_b.data<double>()[i];
    const double error = std::abs(x - y) / (1.0 + std::abs(y));
    if (std::isnan(error)) {
      return error;  // no later element may hide it
    }
    worst = std::max(worst, error);
  }
  return worst;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(on_cpu(a).raw(), on_cpu(b).raw(), a.bytes()) == 0;
}

void for_thread_counts(const std::function<void()>& body) {
  if (!test_device().is_cpu()) {
    body();  // threads of the CPU do not matter there
    return;
  }
  const int before = num_threads();
  for (const int threads : {1, 2}) {
    set_num_threads(threads);
    INFO("threads " << threads);
    body();
  }
  set_num_threads(before);
}

void require_gradients(
    const std::function<std::vector<Variable>(std::span<const Variable>)>& function,
    const std::vector<Variable>& inputs) {
  for_thread_counts([&] {
    const std::string problem = check_gradients(function, inputs);
    INFO(problem);
    REQUIRE(problem.empty());
  });
}

void require_devices_agree(
    const std::function<std::vector<Variable>(std::span<const Variable>)>& function,
    const std::vector<Tensor>& activations, const std::vector<Tensor>& parameters, DType type,
    double tolerance) {
  std::vector<Variable> expected_inputs;
  std::vector<Variable> inputs;
  for (const Tensor& activation : activations) {
    const Tensor rounded = on_cpu(activation).to(type);
    expected_inputs.emplace_back(rounded.to(DType::f32).clone(), true);
    inputs.emplace_back(rounded.clone().to(test_device()), true);
  }
  for (const Tensor& parameter : parameters) {
    expected_inputs.emplace_back(on_cpu(parameter).clone(), true);
    inputs.emplace_back(on_cpu(parameter).clone().to(test_device()), true);
  }
  const std::vector<Variable> expected = function(expected_inputs);
  const std::vector<Variable> outputs = function(inputs);
  REQUIRE(outputs.size() == expected.size());
  Generator generator(20240607);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    INFO("output " << i);
    REQUIRE(max_relative_error(outputs[i].value(), expected[i].value()) < tolerance);
    Tensor grad = Tensor::empty(expected[i].shape());
    fill_uniform(grad, -1.0, 1.0, generator);
    const Tensor rounded = grad.to(outputs[i].dtype());
    // A backward pass frees the history, so every output but the first has a run of its own.
    backward(i == 0 ? expected[i] : function(expected_inputs)[i], rounded.to(DType::f32));
    backward(i == 0 ? outputs[i] : function(inputs)[i], rounded.to(test_device()));
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    INFO("gradient of input " << i);
    REQUIRE(inputs[i].grad().defined() == expected_inputs[i].grad().defined());
    if (inputs[i].grad().defined()) {
      REQUIRE(max_relative_error(inputs[i].grad(), expected_inputs[i].grad()) < tolerance);
    }
  }
}

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  FAIL("expected a rondo::Error");
  return {};
}

}  // namespace rondo::testing
