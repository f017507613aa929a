#include "tests/support/testing.h"

#include <cmath>
#include <cstring>

namespace rondo::testing {

Tensor random_tensor(const Shape& shape, DType dtype, Generator& generator, double low, double high,
                     bool offset) {
  Tensor storage = Tensor::empty({shape.numel() + (offset ? 1 : 0)}, dtype);
  fill_uniform(storage, low, high, generator);
  return storage.narrow(offset ? 1 : 0, shape.numel()).reshape(shape);
}

Variable random_parameter(const Shape& shape, DType dtype, Generator& generator, double low,
                          double high, bool offset) {
  return Variable(random_tensor(shape, dtype, generator, low, high, offset), true);
}

double max_relative_error(const Tensor& a, const Tensor& b) {
  check_shape("max_relative_error", "a", a, b.shape());
  const Tensor wide_a = a.to(DType::f64);
  const Tensor wide_b = b.to(DType::f64);
  double worst = 0.0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    const double x = wide_a.data<double>()[i];
    const double y = wide_b.data<double>()[i];
    const double error = std::abs(x - y) / (1.0 + std::abs(y));
    if (!(error <= worst)) {
      worst = error;  // a NaN sticks
    }
  }
  return worst;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

void for_thread_counts(const std::function<void()>& body) {
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
