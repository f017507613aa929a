#include "ops/cross_entropy.h"

#include <cmath>
#include <limits>

#include "ops/elementwise.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// On the CPU, as trainers have them.
Tensor random_targets(const Shape& shape, std::int64_t limit, Generator& generator) {
  const Tensor values =
      on_cpu(random_tensor(shape, DType::f64, generator, 0, static_cast<double>(limit)));
  std::vector<std::int32_t> targets;
  for (const double value : values.values<double>()) {
    targets.push_back(static_cast<std::int32_t>(value));
  }
  return Tensor::from(targets, shape);
}

}  // namespace

TEST_CASE("cross_entropy is the mean of the negative log softmax", "[ops][cross_entropy]") {
  // Softmax (1/6, 2/6, 3/6) and (1/2, 1/4, 1/4).
  const Variable logits(on_test_device(Tensor::from<double>(
                            {0, std::log(2.0), std::log(3.0), std::log(2.0), 0, 0}, {2, 3})),
                        true);
  const Tensor targets = Tensor::from<std::int32_t>({2, 1}, {2});
  const Variable loss = cross_entropy(logits, targets);
  REQUIRE(loss.shape() == Shape{1});
  REQUIRE(loss.value().item() == Approx((std::log(2.0) + std::log(4.0)) / 2).epsilon(1e-14));
  REQUIRE(cross_entropy_sum(logits.value(), targets).item() ==
          Approx(std::log(8.0)).epsilon(1e-14));
  backward(loss);
  const Tensor expected = Tensor::from<double>(
      {1.0 / 12, 2.0 / 12, 3.0 / 12 - 0.5, 1.0 / 4, 1.0 / 8 - 0.5, 1.0 / 8}, {2, 3});
  REQUIRE(max_relative_error(logits.grad(), expected) < 1e-15);
}

TEST_CASE("cross_entropy is safe for large logits", "[ops][cross_entropy]") {
  const Variable logits(
      on_test_device(Tensor::from<float>({3e4F, -3e4F, 0, -3e4F, -3e4F, -3e4F}, {2, 3})), true);
  const Variable loss = cross_entropy(logits, Tensor::from<std::int32_t>({1, 0}, {2}));
  REQUIRE(loss.value().item() == Approx((6e4 + std::log(3.0)) / 2));
  backward(loss);
  const Tensor expected =
      Tensor::from<float>({0.5F, -0.5F, 0, -1.0F / 3, 1.0F / 6, 1.0F / 6}, {2, 3});
  REQUIRE(max_relative_error(logits.grad(), expected) < 1e-7);
}

TEST_CASE("cross_entropy agrees between f32 and f64 over odd sizes", "[ops][cross_entropy]") {
  Generator generator(1);
  for (const std::int64_t rows : {1, 3, 17, 130}) {
    for (const std::int64_t v : {1, 3, 17, 205}) {
      for (const bool offset : {false, true}) {
        const Tensor logits = random_tensor({rows, v}, DType::f32, generator, -5, 5, offset);
        const Tensor targets = random_targets({rows}, v, generator);
        const Variable wide(logits.to(DType::f64), true);
        const Variable expected = cross_entropy(wide, targets);
        backward(expected);
        for_thread_counts([&] {
          const Variable narrow(logits, true);
          const Variable loss = cross_entropy(narrow, targets);
          backward(loss);
          // Exponentials in f32 of differences of up to 10; sums are double inside.
          REQUIRE(max_relative_error(loss.value(), expected.value()) < 1e-6);
          REQUIRE(max_relative_error(narrow.grad(), wide.grad()) < 1e-6);
          REQUIRE(cross_entropy_sum(logits, targets).item() ==
                  Approx(expected.value().item() * static_cast<double>(rows)).epsilon(1e-6));
        });
      }
    }
  }
}

TEST_CASE("cross_entropy has the right gradients", "[ops][cross_entropy][gradient]") {
  Generator generator(2);
  for (const std::int64_t v : {1, 3, 17}) {
    for (const bool offset : {false, true}) {
      const Tensor targets = random_targets({2, 3}, v, generator);
      require_gradients(
          [&](std::span<const Variable> in) {
            return std::vector<Variable>{cross_entropy(in[0], targets)};
          },
          {random_parameter({2, 3, v}, DType::f64, generator, -2, 2, offset)});
    }
  }
}

TEST_CASE("the gradient of a scaled loss, added to another", "[ops][cross_entropy][gradient]") {
  Generator generator(3);
  const Variable logits = random_parameter({3, 5}, DType::f64, generator);
  const Tensor targets = random_targets({3}, 5, generator);
  require_gradients(
      [&](std::span<const Variable> in) {
        return std::vector<Variable>{
            add(scale(cross_entropy(in[0], targets), 3.0), cross_entropy(in[0], targets))};
      },
      {logits});
}

TEST_CASE("cross_entropy gives the same bits for every thread count", "[ops][cross_entropy]") {
  Generator generator(4);
  const Tensor values = random_tensor({7, 101, 33}, DType::f32, generator, -1, 1, true);
  const Tensor targets = random_targets({7, 101}, 33, generator);
  std::vector<std::vector<Tensor>> found;
  for (int repeat = 0; repeat < 2; ++repeat) {
    for_thread_counts([&] {
      const Variable logits(values, true);
      const Variable loss = cross_entropy(logits, targets);
      backward(loss);
      {
        const NoGradGuard guard;  // without a gradient another loop runs
        REQUIRE(same_bits(cross_entropy(logits, targets).value(), loss.value()));
      }
      found.push_back({loss.value(), logits.grad()});
    });
  }
  for (const std::vector<Tensor>& tensors : found) {
    REQUIRE(same_bits(tensors[0], found[0][0]));
    REQUIRE(same_bits(tensors[1], found[0][1]));
  }
}

TEST_CASE("cross_entropy agrees between devices", "[ops][cross_entropy][gpu]") {
  Generator generator(5);
  // Rows that a warp holds, and longer ones; several blocks of them, up to more rows and elements
  // than the kernels that add and scale have threads; a gradient other than 1.
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 2}, Shape{5, 7, 32}, Shape{9, 205},
                             Shape{1311, 205}, Shape{4, 256}, Shape{3, 257}, Shape{2, 2, 1500}}) {
    const Tensor logits = random_tensor(shape, DType::f32, generator, -5, 5);
    const Tensor targets =
        random_targets(Shape(std::span(shape.begin(), shape.end() - 1)), shape.back(), generator);
    for (const auto& [type, tolerance] :
         {std::pair(DType::f32, 1e-6), std::pair(DType::bf16, 1e-2), std::pair(DType::f16, 1e-2)}) {
      INFO("shape " << shape.str() << ", " << name(type));
      require_devices_agree(
          [&](std::span<const Variable> in) {
            return std::vector<Variable>{cross_entropy(in[0], targets),
                                         scale(cross_entropy(in[0], targets), -3.0)};
          },
          {logits}, {}, type, tolerance);
      REQUIRE(cross_entropy_sum(logits.to(type), targets).item() ==
              Approx(cross_entropy_sum(on_cpu(logits.to(type)).to(DType::f32), targets).item())
                  .epsilon(1e-6));
    }
  }
}

TEST_CASE("cross_entropy survives numbers that are none", "[ops][cross_entropy]") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const std::int64_t v : {3, 300}) {
    Tensor values = Tensor::zeros({2, v});
    values.data<float>()[1] = -kInfinity;  // an impossible class is none of the row's
    const Tensor targets = Tensor::from<std::int32_t>({0, 2}, {2});
    const Variable logits(on_test_device(values), true);
    const Variable loss = cross_entropy(logits, targets);
    const auto classes = static_cast<double>(v);
    REQUIRE(loss.value().item() ==
            Approx((std::log(classes - 1) + std::log(classes)) / 2).epsilon(1e-6));
    backward(loss);
    REQUIRE(on_cpu(logits.grad()).data<float>()[1] == 0.0F);
    values.data<float>()[v] = kNan;
    REQUIRE(std::isnan(cross_entropy(Variable(on_test_device(values)), targets).value().item()));
  }
}

TEST_CASE("targets on the GPU that do not exist make the loss NaN", "[ops][cross_entropy][gpu]") {
  for (const std::int64_t v : {5, 300}) {
    for (const std::int32_t bad : {-1, static_cast<int>(v), std::numeric_limits<int>::max()}) {
      const Variable logits(on_test_device(Tensor::zeros({3, v})), true);
      const Tensor targets = on_test_device(Tensor::from<std::int32_t>({0, bad, 1}, {3}));
      const Variable loss = cross_entropy(logits, targets);
      REQUIRE(std::isnan(loss.value().item()));
      backward(loss);
      const Tensor grad = on_cpu(logits.grad());
      for (std::int64_t i = 0; i < grad.numel(); ++i) {
        REQUIRE(std::isnan(grad.data<float>()[i]) == (i / v == 1));
      }
      // Seen before anything runs where they are on the CPU.
      REQUIRE_THAT(error_of([&] { cross_entropy(logits, on_cpu(targets)); }),
                   ContainsSubstring("at position 1 of shape [3] is out of range"));
    }
  }
}

TEST_CASE("cross_entropy explains what does not fit", "[ops][cross_entropy]") {
  const Variable logits(Tensor::zeros({2, 5}));
  REQUIRE(error_of([&] {
            cross_entropy(logits, Tensor::from<std::int32_t>({4, 5}, {2}));
          }) ==
          "[cross_entropy] targets: 5 at position 1 of shape [2] is out of range; expected 0 to 4");
  REQUIRE(error_of([&] { cross_entropy(logits, Tensor::from<std::int32_t>({4}, {1})); }) ==
          "[cross_entropy] targets has shape [1]; expected [2]");
  REQUIRE(error_of([&] { cross_entropy_sum(logits.value(), Tensor::zeros({2})); }) ==
          "[cross_entropy_sum] targets must be a tensor of i32, not f32");
  REQUIRE_THAT(error_of([&] {
                 cross_entropy(Variable(Tensor::zeros({0, 5})), Tensor::empty({0}, DType::i32));
               }),
               ContainsSubstring("the mean of no rows"));
}
