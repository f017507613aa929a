#include "ops/layer_norm.h"

#include <cmath>

#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

TEST_CASE("layer_norm normalises rows, then scales and shifts", "[ops][layer_norm]") {
  const Variable x(on_test_device(Tensor::from<double>({1, 3, -2, -2}, {2, 2})));
  const Variable weight(on_test_device(Tensor::from<double>({2, 10}, {2})));
  const Variable bias(on_test_device(Tensor::from<double>({0.5, 0.25}, {2})));
  const Tensor y = on_cpu(layer_norm(x, weight, bias, 0.0078125).value());
  const auto values = y.values<double>();
  const double z = 1.0 / std::sqrt(1.0078125);  // variance 1
  REQUIRE(values[0] == Approx(-2 * z + 0.5).epsilon(1e-14));
  REQUIRE(values[1] == Approx(10 * z + 0.25).epsilon(1e-14));
  REQUIRE(values[2] == 0.5);
  REQUIRE(values[3] == 0.25);
}

TEST_CASE("layer_norm agrees between f32 and f64 over odd sizes", "[ops][layer_norm]") {
  Generator generator(1);
  for (const std::int64_t rows : {1, 3, 17, 130}) {
    for (const std::int64_t n : {1, 3, 17, 65, 480}) {
      for (const bool offset : {false, true}) {
        // A mean of three times the spread: the sums must not cancel.
        const Tensor x = random_tensor({rows, n}, DType::f32, generator, 2, 4, offset);
        const Tensor weight = random_tensor({n}, DType::f32, generator, -1, 1, offset);
        const Tensor bias = random_tensor({n}, DType::f32, generator, -1, 1, offset);
        const Tensor expected =
            layer_norm(Variable(x.to(DType::f64)), Variable(weight.to(DType::f64)),
                       Variable(bias.to(DType::f64)))
                .value();
        for_thread_counts([&] {
          const Tensor y = layer_norm(Variable(x), Variable(weight), Variable(bias)).value();
          // Roundings of x at 4, seen at a standard deviation of 0.6; with few elements a row can
          // have a much smaller one.
          REQUIRE(max_relative_error(y, expected) < (n < 17 ? 1e-3 : 3e-6));
        });
      }
    }
  }
}

TEST_CASE("layer_norm has the right gradients", "[ops][layer_norm][gradient]") {
  Generator generator(2);
  for (const bool offset : {false, true}) {
    for (const std::int64_t n : {1, 3, 16, 37}) {
      for (const std::int64_t rows : {1, 3, 18}) {  // 18: more than one block of rows
        require_gradients(
            [](std::span<const Variable> in) {
              return std::vector<Variable>{layer_norm(in[0], in[1], in[2])};
            },
            {random_parameter({rows, n}, DType::f64, generator, -1, 1, offset),
             random_parameter({n}, DType::f64, generator, -1, 1, offset),
             random_parameter({n}, DType::f64, generator, -1, 1, offset)});
      }
    }
  }
}

TEST_CASE("layer_norm works out only the gradients that are wanted", "[ops][layer_norm]") {
  Generator generator(3);
  const Tensor x = random_tensor({5, 7}, DType::f64, generator);
  const Tensor weight = random_tensor({7}, DType::f64, generator);
  const Tensor bias = random_tensor({7}, DType::f64, generator);
  const auto apply = [](std::span<const Variable> in) {
    return std::vector<Variable>{layer_norm(in[0], in[1], in[2])};
  };
  require_gradients(apply, {Variable(x.clone(), true), Variable(weight), Variable(bias)});
  require_gradients(apply, {Variable(x), Variable(weight.clone(), true), Variable(bias)});
  require_gradients(apply, {Variable(x), Variable(weight), Variable(bias.clone(), true)});
}

TEST_CASE("layer_norm gives the same bits for every thread count", "[ops][layer_norm]") {
  Generator generator(4);
  const Tensor x = random_tensor({2, 333, 65}, DType::f32, generator, -1, 1, true);
  const Tensor grad = random_tensor({2, 333, 65}, DType::f32, generator);
  std::vector<std::vector<Tensor>> found;
  for (int repeat = 0; repeat < 2; ++repeat) {
    for_thread_counts([&] {
      const Variable in(x, true);
      const Variable weight(on_test_device(Tensor::full({65}, 0.75)), true);
      const Variable bias(on_test_device(Tensor::full({65}, 0.25)), true);
      const Variable y = layer_norm(in, weight, bias);
      backward(y, grad);
      found.push_back({y.value(), in.grad(), weight.grad(), bias.grad()});
    });
  }
  for (const std::vector<Tensor>& tensors : found) {
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      REQUIRE(same_bits(tensors[i], found[0][i]));
    }
  }
}

TEST_CASE("layer_norm agrees between devices", "[ops][layer_norm][gpu]") {
  Generator generator(5);
  // Rows of one element, of less than a vector, of one warp, of several, and too long to be held in
  // registers; with and without vectors. Rows for several blocks of sums, and for more of them than
  // the kernel that adds them up has warps.
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 3}, Shape{601, 5}, Shape{2, 5, 16}, Shape{5, 31},
                             Shape{37, 64}, Shape{37, 65}, Shape{4, 256}, Shape{3, 300},
                             Shape{2, 1032}, Shape{2, 4096}, Shape{18, 4099}}) {
    const Tensor x = random_tensor(shape, DType::f32, generator);
    const Tensor weight = random_tensor({shape.back()}, DType::f32, generator);
    const Tensor bias = random_tensor({shape.back()}, DType::f32, generator);
    const double eps = shape[0] % 2 == 0 ? 1e-5 : 0.1;
    for (const auto& [type, tolerance] :
         {std::pair(DType::f32, 1e-5), std::pair(DType::bf16, 1e-2), std::pair(DType::f16, 1e-2)}) {
      INFO("shape " << shape.str() << ", " << name(type));
      require_devices_agree(
          [&](std::span<const Variable> in) {
            return std::vector<Variable>{layer_norm(in[0], in[1], in[2], eps)};
          },
          {x}, {weight, bias}, type, tolerance);
    }
  }
}

TEST_CASE("layer_norm of no rows", "[ops][layer_norm]") {
  const Variable x(on_test_device(Tensor::zeros({0, 3})), true);
  const Variable weight(on_test_device(Tensor::full({3}, 1.0)), true);
  const Variable bias(on_test_device(Tensor::full({3}, 1.0)), true);
  const Variable y = layer_norm(x, weight, bias);
  REQUIRE(y.shape() == Shape{0, 3});
  backward(y, on_test_device(Tensor::zeros({0, 3})));
  REQUIRE(same_bits(weight.grad(), on_test_device(Tensor::zeros({3}))));
  REQUIRE(same_bits(bias.grad(), on_test_device(Tensor::zeros({3}))));
}

TEST_CASE("layer_norm explains shapes that do not fit", "[ops][layer_norm]") {
  const Variable x(Tensor::zeros({4, 6}));
  const Variable six(Tensor::zeros({6}));
  REQUIRE(error_of([&] { layer_norm(x, Variable(Tensor::zeros({5})), six); }) ==
          "[layer_norm] weight has shape [5]; expected [6]");
  REQUIRE(error_of([&] { layer_norm(x, six, Variable(Tensor::zeros({6}, DType::f64))); }) ==
          "[layer_norm] bias is f64 on cpu; expected f32 on cpu, beside activations of f32");
  REQUIRE(error_of([&] {
            layer_norm(Variable(Tensor::zeros({4, 0})), six, six);
          }) == "[layer_norm] x has shape [4, 0]; expected (..., n) with n > 0");
}
