#include "ops/linear.h"

#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "ops/concat.h"
#include "ops/cpu/gemm_bf16.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

TEST_CASE("linear multiplies by the transposed weight and adds the bias", "[ops][linear]") {
  const Variable x(on_test_device(Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3})));
  const Variable weight(on_test_device(Tensor::from<float>({1, 0, -1, 2, 1, 0}, {2, 3})));
  const Variable bias(on_test_device(Tensor::from<float>({0.5F, -0.5F}, {2})));
  REQUIRE(same_bits(linear(x, weight, bias).value(),
                    Tensor::from<float>({-1.5F, 3.5F, -1.5F, 12.5F}, {2, 2})));
}

TEST_CASE("linear agrees between f32 and f64 over odd sizes", "[ops][linear]") {
  Generator generator(1);
  for (const std::int64_t rows : {1, 3, 17, 130}) {
    for (const std::int64_t in : {1, 3, 17, 65}) {
      for (const std::int64_t out : {1, 5, 33}) {
        for (const bool offset : {false, true}) {
          const Tensor x = random_tensor({rows, in}, DType::f32, generator, -1, 1, offset);
          const Tensor weight = random_tensor({out, in}, DType::f32, generator, -1, 1, offset);
          for_thread_counts([&] {
            const Tensor narrow = linear(Variable(x), Variable(weight)).value();
            const Tensor wide =
                linear(Variable(x.to(DType::f64)), Variable(weight.to(DType::f64))).value();
            // Sums of up to 65 products of unit size in f32.
            REQUIRE(max_relative_error(narrow, wide) < 5e-6);
          });
        }
      }
    }
  }
}

TEST_CASE("linear has the right gradients", "[ops][linear][gradient]") {
  Generator generator(2);
  for (const bool offset : {false, true}) {
    for (const std::int64_t size : {1, 3, 17}) {
      require_gradients(
          [](std::span<const Variable> in) {
            return std::vector<Variable>{linear(in[0], in[1], in[2])};
          },
          {random_parameter({2, 3, size}, DType::f64, generator, -1, 1, offset),
           random_parameter({5, size}, DType::f64, generator, -1, 1, offset),
           random_parameter({5}, DType::f64, generator, -1, 1, offset)});
    }
  }
}

TEST_CASE("linear_of_parts is linear of the concatenation", "[ops][linear]") {
  Generator generator(4);
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Variable a = random_parameter({3, 2, 17}, dtype, generator, -1, 1, true);
    const Variable b = random_parameter({5, 2, 17}, dtype, generator);
    const Variable weight = random_parameter({7, 17}, dtype, generator);
    const Tensor grad = random_tensor({8, 2, 7}, dtype, generator);
    const Variable parts = linear_of_parts({a, b}, weight);
    REQUIRE(parts.shape() == Shape{8, 2, 7});
    backward(parts, grad);
    const std::vector<Tensor> grads{a.grad(), b.grad(), weight.grad()};
    for (Variable v : {a, b, weight}) {
      v.zero_grad();
    }
    const Variable whole = linear(concat({a, b}, 0), weight);
    backward(whole, grad);
    REQUIRE(max_relative_error(parts.value(), whole.value()) < 1e-6);
    REQUIRE(max_relative_error(grads[0], a.grad()) < 1e-6);
    REQUIRE(max_relative_error(grads[1], b.grad()) < 1e-6);
    REQUIRE(max_relative_error(grads[2], weight.grad()) < 1e-6);
  }
}

TEST_CASE("linear_of_parts has the right gradients, none for a constant part",
          "[ops][linear][gradient]") {
  Generator generator(5);
  const Variable memory = random_parameter({2, 2, 3}, DType::f64, generator).detach();
  require_gradients(
      [&](std::span<const Variable> in) {
        return std::vector<Variable>{linear_of_parts({memory, in[0]}, in[1])};
      },
      {random_parameter({4, 2, 3}, DType::f64, generator, -1, 1, true),
       random_parameter({5, 3}, DType::f64, generator)});
  REQUIRE(
      error_of([&] {
        linear_of_parts({memory, Variable(Tensor::zeros({2, 1, 3}, DType::f64, test_device()))},
                        Variable(Tensor::zeros({5, 3}, DType::f64, test_device())));
      }) ==
      "[linear_of_parts] a part has shape [2, 1, 3]; expected that of the first, [2, 2, 3], but "
      "for the first size");
}

TEST_CASE("linear rounds operands and nothing else", "[ops][linear][bf16]") {
  Generator generator(6);
  const auto transposed = [](const Tensor& t) {
    const Tensor source = on_cpu(t);
    Tensor result = Tensor::empty({t.size(1), t.size(0)});
    for (std::int64_t i = 0; i < t.size(0); ++i) {
      for (std::int64_t j = 0; j < t.size(1); ++j) {
        result.data<float>()[j * t.size(0) + i] = source.data<float>()[i * t.size(1) + j];
      }
    }
    return on_test_device(result);
  };
  std::vector<std::pair<Precision, DType>> precisions{{Precision::bf16, DType::bf16}};
  if (test_device().is_cuda()) {
    precisions.emplace_back(Precision::f16, DType::f16);
  }
  for (const auto& [precision, dtype] : precisions) {
    INFO(name(precision));
    const Variable x = random_parameter({19, 33}, DType::f32, generator, -1, 1, true);
    const Variable weight = random_parameter({7, 33}, DType::f32, generator);
    const Tensor grad = random_tensor({19, 7}, DType::f32, generator);
    const Variable y = linear(x, weight, Variable(), precision);
    backward(y, grad);
    const auto expect = [&](const Tensor& actual, const Tensor& a, const Tensor& b) {
      REQUIRE(actual.dtype() == DType::f32);
      const Variable product =
          matmul(Variable(a.to(dtype).to(DType::f64)), Variable(b.to(dtype).to(DType::f64)));
      REQUIRE(max_relative_error(actual, product.value()) < 5e-6);  // sums of 33 products in f32
    };
    expect(y.value(), x.value(), transposed(weight.value()));
    expect(x.grad(), grad, weight.value());
    expect(weight.grad(), transposed(grad), x.value());
  }
}

TEST_CASE("linear says which precisions do not fit", "[ops][linear]") {
  const Variable x(Tensor::zeros({1, 3}));
  const Variable weight(Tensor::zeros({2, 3}));
  REQUIRE(error_of([&] { linear(x, weight, Variable(), Precision::tf32); }) ==
          "[linear] precision tf32 needs a GPU; use f32 or bf16 on the CPU");
  REQUIRE(error_of([&] { linear_of_parts({x}, weight, Precision::f16); }) ==
          "[linear_of_parts] precision f16 needs a GPU; use f32 or bf16 on the CPU");
  for (const Precision precision : {Precision::bf16, Precision::tf32, Precision::f16}) {
    REQUIRE(
        error_of([&] {
          linear(Variable(Tensor::zeros({1, 3}, DType::f64, test_device())),
                 Variable(Tensor::zeros({2, 3}, DType::f64, test_device())), Variable(), precision);
        }) == fmt::format("[linear] products of f64 tensors are not done in {}", name(precision)));
  }
}

// What a GPU computes with: the type of activations, and the precision of f32 ones.
struct Arithmetic {
  DType activations;
  Precision precision;
  double tolerance;
};

// On both sides operands are rounded to 8 bits first (the weights by the tests below), so that in
// bf16 and f16 the outputs are rounded differently and no more; tf32 keeps 11 bits.
constexpr Arithmetic kArithmetics[] = {
    {DType::f32, Precision::f32, 1e-5},   {DType::f32, Precision::tf32, 1e-2},
    {DType::f32, Precision::bf16, 2e-2},  {DType::f32, Precision::f16, 1e-2},
    {DType::bf16, Precision::bf16, 1e-2}, {DType::f16, Precision::f16, 1e-2},
};

// The precision for the CPU, and that for a GPU.
Precision on_device_of(const Variable& x, Precision precision) {
  return x.device().is_cuda() ? precision : Precision::f32;
}

Tensor eight_bits(const Tensor& tensor) { return tensor.to(DType::bf16).to(DType::f32); }

TEST_CASE("linear agrees between devices in every precision", "[ops][linear][gpu]") {
  Generator generator(9);
  for (const Arithmetic& arithmetic : kArithmetics) {
    for (const auto [rows, in, out] :
         {std::array{1, 1, 1}, std::array{3, 7, 5}, std::array{33, 64, 1}, std::array{1, 65, 64},
          std::array{70, 24, 40}, std::array{300, 3, 33}}) {
      for (const bool with_bias : {false, true}) {
        INFO(name(arithmetic.activations) << " in " << name(arithmetic.precision) << ", " << rows
                                          << ", " << in << ", " << out << ", bias " << with_bias);
        std::vector<Tensor> parameters{
            eight_bits(random_tensor({out, in}, DType::f32, generator, -0.3, 0.3))};
        if (with_bias) {
          parameters.push_back(eight_bits(random_tensor({out}, DType::f32, generator)));
        }
        require_devices_agree(
            [&](std::span<const Variable> inputs) {
              return std::vector<Variable>{linear(inputs[0], inputs[1],
                                                  with_bias ? inputs[2] : Variable(),
                                                  on_device_of(inputs[0], arithmetic.precision))};
            },
            {random_tensor({rows, 1, in}, DType::f32, generator, -0.3, 0.3)}, parameters,
            arithmetic.activations, arithmetic.tolerance);
      }
    }
  }
}

TEST_CASE("linear_of_parts agrees between devices in every precision", "[ops][linear][gpu]") {
  Generator generator(10);
  for (const Arithmetic& arithmetic : kArithmetics) {
    INFO(name(arithmetic.activations) << " in " << name(arithmetic.precision));
    require_devices_agree(
        [&](std::span<const Variable> inputs) {
          return std::vector<Variable>{
              linear_of_parts({inputs[0].detach(), inputs[1], inputs[2]}, inputs[3],
                              on_device_of(inputs[0], arithmetic.precision))};
        },
        {random_tensor({3, 2, 17}, DType::f32, generator, -0.3, 0.3),
         random_tensor({1, 2, 17}, DType::f32, generator, -0.3, 0.3),
         random_tensor({20, 2, 17}, DType::f32, generator, -0.3, 0.3)},
        {eight_bits(random_tensor({9, 17}, DType::f32, generator, -0.3, 0.3))},
        arithmetic.activations, arithmetic.tolerance);
  }
}

TEST_CASE("half operands of linear may start anywhere", "[ops][linear][gpu]") {
  Generator generator(11);
  for (const DType dtype : {DType::bf16, DType::f16}) {
    INFO(name(dtype));
    const Variable x = random_parameter({19, 24}, dtype, generator, -0.3, 0.3, true);
    const Variable weight = random_parameter({16, 24}, DType::f32, generator, -0.3, 0.3, true);
    const Variable bias = random_parameter({16}, DType::f32, generator, -1, 1, true);
    const Tensor grad = random_tensor({19, 16}, dtype, generator, -1, 1, true);
    const Variable y = linear(x, weight, bias);
    backward(y, grad);
    REQUIRE(y.dtype() == dtype);
    REQUIRE(x.grad().dtype() == dtype);
    REQUIRE(weight.grad().dtype() == DType::f32);
    REQUIRE(bias.grad().dtype() == DType::f32);

    const auto wide = [](const Tensor& t) { return Variable(on_cpu(t).to(DType::f64), true); };
    const Variable wide_x = wide(x.value());
    const Variable wide_weight = wide(weight.value().to(dtype));
    const Variable wide_bias = wide(bias.value().to(dtype));
    const Variable wide_y = linear(wide_x, wide_weight, wide_bias);
    backward(wide_y, on_cpu(grad).to(DType::f64));
    const double rounding = dtype == DType::bf16 ? 0x1p-8 : 0x1p-11;  // of the result
    REQUIRE(max_relative_error(y.value(), wide_y.value()) < rounding);
    REQUIRE(max_relative_error(x.grad(), wide_x.grad()) < rounding);
    REQUIRE(max_relative_error(weight.grad(), wide_weight.grad()) < 1e-5);
    REQUIRE(max_relative_error(bias.grad(), wide_bias.grad()) < 1e-5);
  }
}

TEST_CASE("the bias's gradient is right over any number of rows", "[ops][linear][gpu]") {
  Generator generator(12);
  // Around one chunk of 256 rows, several chunks, and more than 256 chunks of 256 rows.
  for (const std::int64_t rows : {1, 9, 255, 256, 257, 1000, 70001}) {
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
      INFO(rows << " rows of " << name(dtype));
      const std::int64_t out = rows > 1000 ? 3 : 33;  // one column of blocks, or two
      const DType parameters = dtype == DType::f64 ? DType::f64 : DType::f32;
      const Variable x(Tensor::zeros({rows, 1}, dtype, test_device()));
      const Variable weight(Tensor::zeros({out, 1}, parameters, test_device()));
      const auto gradient = [&](const Tensor& grad) {
        const Variable bias(Tensor::zeros({out}, parameters, test_device()), true);
        backward(linear(x, weight, bias), grad);
        return on_cpu(bias.grad());
      };
      const Tensor grad = random_tensor({rows, out}, dtype, generator);
      const Tensor wide = on_cpu(grad).to(DType::f64);
      Tensor expected = Tensor::zeros({out}, DType::f64);
      for (std::int64_t i = 0; i < rows * out; ++i) {
        expected.data<double>()[i % out] += wide.data<double>()[i];
      }
      const Tensor actual = gradient(grad);
      REQUIRE(max_relative_error(actual, expected) < 1e-5);
      REQUIRE(same_bits(actual, gradient(grad)));
    }
  }
}

TEST_CASE("linear without rows has no gradients to give", "[ops][linear]") {
  const Variable x(Tensor::zeros({0, 3}, DType::f32, test_device()), true);
  const Variable weight(Tensor::full({2, 3}, 5.0, DType::f32, test_device()), true);
  const Variable bias(Tensor::full({2}, 5.0, DType::f32, test_device()), true);
  const Variable y = linear(x, weight, bias);
  REQUIRE(y.shape() == Shape{0, 2});
  backward(y, Tensor::zeros({0, 2}, DType::f32, test_device()));
  REQUIRE(same_bits(weight.grad(), Tensor::zeros({2, 3})));
  REQUIRE(same_bits(bias.grad(), Tensor::zeros({2})));
}

TEST_CASE("linear_transposed agrees between devices in every precision", "[ops][linear][gpu]") {
  Generator generator(13);
  for (const Arithmetic& arithmetic : kArithmetics) {
    for (const auto [rows, in, out] : {std::array{1, 1, 1}, std::array{3, 7, 5},
                                       std::array{33, 64, 1}, std::array{70, 24, 40}}) {
      INFO(name(arithmetic.activations)
           << " in " << name(arithmetic.precision) << ", " << rows << ", " << in << ", " << out);
      require_devices_agree(
          [&](std::span<const Variable> inputs) {
            return std::vector<Variable>{linear_transposed(
                inputs[0], inputs[1], on_device_of(inputs[0], arithmetic.precision))};
          },
          {random_tensor({rows, 1, in}, DType::f32, generator, -0.3, 0.3)},
          {eight_bits(random_tensor({in, out}, DType::f32, generator, -0.3, 0.3))},
          arithmetic.activations, arithmetic.tolerance);
    }
  }
}

TEST_CASE("matmul agrees between devices", "[ops][matmul][gpu]") {
  Generator generator(13);
  for (const auto& [dtype, tolerance] :
       {std::pair{DType::f32, 1e-5}, std::pair{DType::bf16, 1e-2}, std::pair{DType::f16, 1e-2}}) {
    require_devices_agree(
        [](std::span<const Variable> in) { return std::vector<Variable>{matmul(in[0], in[1])}; },
        {random_tensor({33, 17}, DType::f32, generator, -0.3, 0.3),
         random_tensor({17, 40}, DType::f32, generator, -0.3, 0.3)},
        {}, dtype, tolerance);
  }
}

TEST_CASE("what multiplies has a name", "[ops][matmul]") {
  REQUIRE_THAT(matmul_backend(test_device()), ContainsSubstring(" ") && ContainsSubstring("."));
  if (test_device().is_cuda()) {
    REQUIRE_THAT(matmul_backend(test_device()), ContainsSubstring("cuBLASLt"));
  }
}

TEST_CASE("both bf16 products agree, for every transposition", "[ops][linear][cpu][bf16][cpu]") {
  if (!cpu::has_bf16_products()) {
    WARN("this processor has no bf16 products: not compared");
    return;
  }
  using cpu::Transpose;
  Generator generator(7);
  for (const auto [m, n, k] :
       {std::array{1, 1, 1}, std::array{3, 17, 5}, std::array{64, 48, 130}}) {
    for (const Transpose at : {Transpose::no, Transpose::yes}) {
      for (const Transpose bt : {Transpose::no, Transpose::yes}) {
        for (const float beta : {0.0F, 1.0F}) {
          // Rows lie in wider ones, as heads of attention do.
          const auto matrix = [&](std::int64_t rows, std::int64_t columns) {
            return random_tensor({rows, columns + 3}, DType::f32, generator);
          };
          const Tensor a = at == Transpose::yes ? matrix(k, m) : matrix(m, k);
          const Tensor b = bt == Transpose::yes ? matrix(n, k) : matrix(k, n);
          Tensor native = matrix(m, n);
          Tensor plain = native.clone();
          const auto run = [&](const auto& gemm, Tensor& c) {
            gemm(at, bt, m, n, k, 0.7F, a.data<float>(), a.size(1), b.data<float>(), b.size(1),
                 beta, c.data<float>(), c.size(1));
          };
          for_thread_counts([&] {
            Tensor from_native = native.clone();
            Tensor from_plain = plain.clone();
            run(cpu::gemm_bf16_native, from_native);
            run(cpu::gemm_bf16_rounded, from_plain);
            REQUIRE(max_relative_error(from_native, from_plain) < 1e-5);  // up to 130 products
          });
        }
      }
    }
  }
}

TEST_CASE("rounding to bf16 on vectors is rounding one by one", "[ops][linear][cpu][bf16][cpu]") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> values{
      0.0F,          -0.0F,   1.0F,      0x1.01p0F,  0x1.03p0F,
      0x1.010002p0F, 3.4e38F, kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(),
      1e-40F};
  Generator generator(8);
  const Tensor more = random_tensor({50}, DType::f32, generator, -1e3, 1e3);
  values.insert(values.end(), more.values<float>().begin(), more.values<float>().end());
  for (const float factor : {1.0F, 0.3F}) {
    const auto n = static_cast<std::int64_t>(values.size());
    std::vector<bfloat16> halves(values.size());
    std::vector<float> floats(values.size());
    cpu::round_to_bf16(values.data(), factor, n, halves.data());
    cpu::round_to_bf16(values.data(), factor, n, floats.data());
    for (std::size_t i = 0; i < values.size(); ++i) {
      INFO(values[i] << " times " << factor);
      const bfloat16 expected(values[i] * factor);
      REQUIRE(halves[i].bits == expected.bits);
      REQUIRE(bfloat16(floats[i]).bits == expected.bits);
      REQUIRE((std::isnan(floats[i]) || floats[i] == static_cast<float>(expected)));
    }
  }
}

TEST_CASE("matmul has the right values and gradients", "[ops][matmul][gradient]") {
  const Variable a(on_test_device(Tensor::from<float>({1, 2, 3, 4}, {2, 2})));
  const Variable b(on_test_device(Tensor::from<float>({0, 1, 1, 0}, {2, 2})));
  const Tensor product = matmul(a, b).value();
  REQUIRE(same_bits(product, Tensor::from<float>({2, 1, 4, 3}, {2, 2})));

  Generator generator(3);
  for (const std::int64_t size : {1, 3, 17}) {
    require_gradients(
        [](std::span<const Variable> in) { return std::vector<Variable>{matmul(in[0], in[1])}; },
        {random_parameter({4, size}, DType::f64, generator, -1, 1, true),
         random_parameter({size, 3}, DType::f64, generator)});
  }
}

TEST_CASE("linear_transposed is linear with a weight that lies the other way",
          "[ops][linear][gradient]") {
  const Variable x(on_test_device(Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3})));
  const Variable weight(on_test_device(Tensor::from<float>({1, 2, 0, 1, -1, 0}, {3, 2})));
  REQUIRE(same_bits(linear_transposed(x, weight).value(),
                    Tensor::from<float>({-2, 4, -2, 13}, {2, 2})));
  Generator generator(12);
  for (const bool offset : {false, true}) {
    for (const std::int64_t size : {1, 3, 17}) {
      require_gradients(
          [](std::span<const Variable> in) {
            return std::vector<Variable>{linear_transposed(in[0], in[1])};
          },
          {random_parameter({2, 3, size}, DType::f64, generator, -1, 1, offset),
           random_parameter({size, 5}, DType::f64, generator, -1, 1, offset)});
    }
  }
  REQUIRE(error_of([&] {
            linear_transposed(x, Variable(Tensor::zeros({2, 3})));
          }) ==
          "[linear_transposed] x has shape [2, 3]; its last size must be 2, the inputs of weight "
          "[2, 3]");
  REQUIRE(error_of([&] { linear_transposed(x, Variable(Tensor::zeros({3}))); }) ==
          "[linear_transposed] weight has shape [3]; expected (in, out)");
}

TEST_CASE("linear explains shapes that do not fit", "[ops][linear]") {
  const Variable x(Tensor::zeros({4, 7}));
  const Variable weight(Tensor::zeros({5, 6}));
  REQUIRE(error_of([&] { linear(x, weight); }) ==
          "[linear] x has shape [4, 7]; its last size must be 6, the inputs of weight [5, 6]");
  REQUIRE_THAT(error_of([&] {
                 linear(x, Variable(Tensor::zeros({5, 7}, DType::f64)));
               }),
               ContainsSubstring("weight is f64 on cpu; expected f32 on cpu"));
}
