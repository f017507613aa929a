#include "ops/elementwise.h"

#include <cmath>
#include <limits>

#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

struct NamedFunction {
  const char* name;
  std::function<Variable(std::span<const Variable>)> apply;
  int inputs;
};

// Operations whose inputs all have one shape.
const std::vector<NamedFunction> kFunctions = {
    {"add", [](auto in) { return add(in[0], in[1]); }, 2},
    {"sub", [](auto in) { return sub(in[0], in[1]); }, 2},
    {"mul", [](auto in) { return mul(in[0], in[1]); }, 2},
    {"scale", [](auto in) { return scale(in[0], -2.5); }, 1},
    {"sigmoid", [](auto in) { return sigmoid(in[0]); }, 1},
    {"tanh", [](auto in) { return rondo::tanh(in[0]); }, 1},
    {"gelu", [](auto in) { return gelu(in[0]); }, 1},
    {"relu", [](auto in) { return relu(in[0]); }, 1},
    {"sum", [](auto in) { return sum(in[0]); }, 1},
    {"mean", [](auto in) { return mean(in[0]); }, 1},
};

Variable to_f64(const Variable& x) { return Variable(x.value().to(DType::f64)); }

}  // namespace

TEST_CASE("arithmetic on elements", "[ops][elementwise]") {
  const Variable a(tensor_of<float>({1, 2, 3, 4}, {2, 2}));
  const Variable b(tensor_of<float>({5, 6, 7, 8}, {2, 2}));
  const Variable c(tensor_of<float>({10}, {1}));
  REQUIRE(same_bits(add(a, b).value(), tensor_of<float>({6, 8, 10, 12}, {2, 2})));
  REQUIRE(same_bits(sub(a, b).value(), tensor_of<float>({-4, -4, -4, -4}, {2, 2})));
  REQUIRE(same_bits(mul(a, b).value(), tensor_of<float>({5, 12, 21, 32}, {2, 2})));
  REQUIRE(same_bits(add(a, c).value(), tensor_of<float>({11, 12, 13, 14}, {2, 2})));
  REQUIRE(same_bits(sub(c, a).value(), tensor_of<float>({9, 8, 7, 6}, {2, 2})));
  REQUIRE(same_bits(mul(c, a).value(), tensor_of<float>({10, 20, 30, 40}, {2, 2})));
  REQUIRE(same_bits(mul(c, c).value(), tensor_of<float>({100}, {1})));
  REQUIRE(same_bits(scale(a, 0.5).value(), tensor_of<float>({0.5F, 1, 1.5F, 2}, {2, 2})));
  REQUIRE(same_bits(add_scaled(a, c, b).value(), tensor_of<float>({51, 62, 73, 84}, {2, 2})));
  REQUIRE(same_bits(sum(a).value(), tensor_of<float>({10}, {1})));
  REQUIRE(same_bits(mean(a).value(), tensor_of<float>({2.5F}, {1})));
  REQUIRE(sum(Variable(Tensor::empty({0, 3}, DType::f32, test_device()))).value().item() == 0.0);
}

TEST_CASE("sigmoid and tanh are right from end to end of their range", "[ops][elementwise]") {
  const std::vector<double> points = {-1000, -700, -100, -1, -1e-9, 0, 1e-9, 1, 40, 1000};
  const Variable x(tensor_of<double>(points, {static_cast<std::int64_t>(points.size())}));
  const Tensor y = on_cpu(sigmoid(x).value());
  const Tensor z = on_cpu(rondo::tanh(x).value());
  for (std::size_t i = 0; i < points.size(); ++i) {
    INFO("x = " << points[i]);
    REQUIRE(y.values<double>()[i] == Approx(1.0 / (1.0 + std::exp(-points[i]))).epsilon(1e-14));
    REQUIRE(z.values<double>()[i] == Approx(std::tanh(points[i])).epsilon(1e-14));
  }
  REQUIRE(y.values<double>()[1] > 0.0);  // e^-700: small, not lost
  const float nan = std::numeric_limits<float>::quiet_NaN();
  REQUIRE(std::isnan(relu(Variable(Tensor::full({1}, nan))).value().item()));
  REQUIRE(relu(Variable(Tensor::full({1}, -2.5))).value().item() == 0.0);
  REQUIRE(std::isnan(sigmoid(Variable(Tensor::full({1}, nan))).value().item()));
}

TEST_CASE("gelu is near x Phi(x), and right at the ends of its range", "[ops][elementwise]") {
  const std::vector<double> points = {-1000, -30, -2, -0.75, -1e-9, 0, 1e-9, 0.5, 2, 30, 1000};
  const Variable x(tensor_of<double>(points, {static_cast<std::int64_t>(points.size())}));
  const Tensor y = on_cpu(gelu(x).value());
  for (std::size_t i = 0; i < points.size(); ++i) {
    INFO("x = " << points[i]);
    const double exact = points[i] * 0.5 * std::erfc(-points[i] / std::sqrt(2.0));
    REQUIRE(std::abs(y.values<double>()[i] - exact) < 0.021);
    REQUIRE(y.values<double>()[i] ==
            Approx(points[i] / (1.0 + std::exp(-1.702 * points[i]))).epsilon(1e-13));
  }
}

TEST_CASE("elementwise operations agree between f32 and f64", "[ops][elementwise]") {
  Generator generator(1);
  for (const std::int64_t size : {1, 3, 17, 70001}) {  // the last is work for two threads
    for (const bool offset : {false, true}) {
      std::vector<Variable> inputs;
      std::vector<Variable> wide;
      for (int i = 0; i < 2; ++i) {
        inputs.emplace_back(random_tensor({size}, DType::f32, generator, -3, 3, offset));
        wide.push_back(to_f64(inputs.back()));
      }
      for (const NamedFunction& function : kFunctions) {
        INFO(function.name << " of " << size);
        const Tensor expected = function.apply(wide).value();
        std::vector<Tensor> found;
        for_thread_counts([&] {
          const Tensor y = function.apply(inputs).value();
          // A few roundings of single elements; sums are double inside.
          REQUIRE(max_relative_error(y, expected) < 3e-7);
          found.push_back(y);
          REQUIRE(same_bits(y, found[0]));
        });
      }
    }
  }
}

TEST_CASE("elementwise operations have the right gradients", "[ops][elementwise][gradient]") {
  Generator generator(2);
  for (const bool offset : {false, true}) {
    for (const std::int64_t size : {1, 3, 17}) {
      for (const NamedFunction& function : kFunctions) {
        INFO(function.name << " of " << size);
        std::vector<Variable> inputs;
        for (int i = 0; i < function.inputs; ++i) {
          inputs.push_back(random_parameter({2, size}, DType::f64, generator, -2, 2, offset));
        }
        require_gradients(
            [&](std::span<const Variable> in) { return std::vector<Variable>{function.apply(in)}; },
            inputs);
      }
    }
  }
}

TEST_CASE("an operand of one element gets the sum of its gradients",
          "[ops][elementwise][gradient]") {
  Generator generator(3);
  const Variable x = random_parameter({3, 5}, DType::f64, generator);
  for (const Shape& shape : {Shape{1}, Shape{}, Shape{1, 1, 1}}) {
    const Variable c = random_parameter(shape, DType::f64, generator);
    for (const NamedFunction& function : kFunctions) {
      if (function.inputs == 2) {
        INFO(function.name);
        const auto apply = [&](std::span<const Variable> in) {
          return std::vector<Variable>{function.apply(in)};
        };
        require_gradients(apply, {x, c});
        require_gradients(apply, {c, x});
        require_gradients(apply, {c, random_parameter({1}, DType::f64, generator)});
      }
    }
  }
}

TEST_CASE("add_scaled has the right gradients", "[ops][elementwise][gradient]") {
  Generator generator(4);
  for (const std::int64_t size : {1, 3, 17}) {
    require_gradients(
        [](std::span<const Variable> in) {
          return std::vector<Variable>{add_scaled(in[0], in[1], in[2])};
        },
        {random_parameter({2, size}, DType::f64, generator, -1, 1, true),
         random_parameter({1}, DType::f64, generator),
         random_parameter({2, size}, DType::f64, generator, -1, 1, true)});
  }
}

TEST_CASE("the gradient of alpha does not depend on the thread count", "[ops][elementwise]") {
  Generator generator(5);
  const Variable x(random_tensor({3, 30001}, DType::f32, generator));
  const Variable y(random_tensor({3, 30001}, DType::f32, generator));
  const Tensor grad = random_tensor({3, 30001}, DType::f32, generator);
  std::vector<Tensor> found;
  for_thread_counts([&] {
    const Variable alpha(tensor_of<float>({0.5F}, {1}), true);
    backward(add_scaled(x, alpha, y), grad);
    found.push_back(alpha.grad());
  });
  REQUIRE(same_bits(found.front(), found.back()));
}

TEST_CASE("variables used more than once get separate gradients", "[ops][elementwise][gradient]") {
  // Operations that hand their gradient on as it is, followed by uses whose gradient is added.
  const Variable a(tensor_of<double>({2, 3}, {2}), true);
  const Variable b(tensor_of<double>({5, 7}, {2}), true);
  const Variable alpha(tensor_of<double>({2}, {1}), true);
  const Variable product = mul(a, b);
  const Variable y = add(add(a, b), add_scaled(add(product, product), alpha, sub(a, b)));
  backward(y, tensor_of<double>({1, 10}, {2}));
  // y = a + b + 2ab + 2(a - b)
  REQUIRE(same_bits(a.grad(), tensor_of<double>({13, 170}, {2})));
  REQUIRE(same_bits(b.grad(), tensor_of<double>({3, 50}, {2})));
  REQUIRE(alpha.grad().item() == -43.0);
}

TEST_CASE("elementwise operations explain what does not fit", "[ops][elementwise]") {
  const Variable x(Tensor::zeros({4, 7}));
  REQUIRE(error_of([&] { add(x, Variable(Tensor::zeros({7}))); }) ==
          "[add] shapes [4, 7] and [7] do not fit; expected equal shapes, or one element on one "
          "side");
  REQUIRE(error_of([&] {
            mul(x, Variable(Tensor::zeros({4, 7}, DType::f64)));
          }) == "[mul] b is f64 on cpu; expected f32 on cpu, as the other inputs");
  REQUIRE(error_of([&] { add_scaled(x, Variable(Tensor::zeros({2})), x); }) ==
          "[add_scaled] alpha has shape [2]; expected [1]");
  REQUIRE_THAT(error_of([&] { mean(Variable(Tensor::empty({0}))); }),
               ContainsSubstring("the mean of no elements"));
}

TEST_CASE("elementwise operations on a GPU follow the CPU", "[ops][elementwise][gpu]") {
  using Inputs = std::span<const Variable>;
  using Outputs = std::vector<Variable>;
  Generator generator(6);
  const auto values = [&](std::int64_t size) {
    return random_tensor({size}, DType::f32, generator);
  };
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    const double tolerance = type == DType::f32 ? 1e-6 : type == DType::f16 ? 2e-3 : 1e-2;
    // One element, less than a vector, whole vectors, several blocks with a rest.
    for (const std::int64_t size : {1, 5, 64, 1000, 5003}) {
      INFO(name(type) << " size " << size);
      for (const NamedFunction& function : kFunctions) {
        INFO(function.name);
        // Means instead of sums, whose rounding to 16 bits would grow with the size.
        const bool is_sum = function.name == std::string_view("sum");
        const auto apply = [&](Inputs in) {
          return Outputs{is_sum ? mean(in[0]) : function.apply(in)};
        };
        std::vector<Tensor> inputs;
        for (int i = 0; i < function.inputs; ++i) {
          inputs.push_back(values(size));
        }
        require_devices_agree(apply, inputs, {}, type, tolerance);
      }
      const auto broadcast = [](Inputs in) {
        return Outputs{add(in[0], in[1]), sub(in[1], in[0]), mul(in[0], in[1])};
      };
      const Tensor many = values(size);
      const Tensor grad_scale = Tensor::full({size}, 1.0 / static_cast<double>(size));
      require_devices_agree(
          [&](Inputs in) {
            // Scaled, so that the gradient of the single operand, a sum, stays near one.
            const Variable scale(grad_scale.to(in[0].dtype()).to(in[0].device()));
            Outputs all = broadcast(in);
            for (Variable& output : all) {
              output = mul(output, scale);
            }
            return all;
          },
          {many, values(1)}, {}, type, tolerance);
      require_devices_agree(
          [&](Inputs in) {
            const Variable scale(grad_scale.to(in[0].dtype()).to(in[0].device()));
            return Outputs{mul(add_scaled(in[0], in[2], in[1]), scale)};
          },
          {many, values(size)}, {values(1)}, type, tolerance);
    }
  }
}
