#include "ops/linear.h"

#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

TEST_CASE("linear multiplies by the transposed weight and adds the bias", "[ops][linear]") {
  const Variable x(Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3}));
  const Variable weight(Tensor::from<float>({1, 0, -1, 2, 1, 0}, {2, 3}));
  const Variable bias(Tensor::from<float>({0.5F, -0.5F}, {2}));
  const Tensor y = linear(x, weight, bias).value();
  const auto values = y.values<float>();
  REQUIRE(std::vector<float>(values.begin(), values.end()) ==
          std::vector<float>{-1.5F, 3.5F, -1.5F, 12.5F});
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

TEST_CASE("matmul has the right values and gradients", "[ops][matmul][gradient]") {
  const Variable a(Tensor::from<float>({1, 2, 3, 4}, {2, 2}));
  const Variable b(Tensor::from<float>({0, 1, 1, 0}, {2, 2}));
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
