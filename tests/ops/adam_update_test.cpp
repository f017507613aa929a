#include "ops/adam_update.h"

#include "ops/cpu/adam_update.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

AdamStep<double> some_step(bool update) {
  return {0.9, 0.999, 0.1, 0.001, 1e-8, 0.01, 1.3, 0.999, 0.02, 0.7, update};
}

}  // namespace

TEST_CASE("adam_update follows the formula for any size and thread count",
          "[ops][adam_update][cpu]") {
  Generator generator(1);
  for (const std::int64_t size : {1, 3, 16, 17, 70001}) {
    for (const bool update : {false, true}) {
      for (const bool offset : {false, true}) {
        const auto tensor = [&](double low) {
          return random_tensor({size}, DType::f32, generator, low, 1, offset);
        };
        const Tensor grad = tensor(-1);
        const Tensor parameter = tensor(-1);
        const Tensor m = tensor(-1);
        const Tensor v = tensor(0);
        const AdamStep<double> s = some_step(update);
        std::vector<Tensor> wide;
        for (const Tensor& t : {grad, parameter, m, v}) {
          wide.push_back(t.to(DType::f64));
        }
        cpu::adam_update_plain(s, size, wide[0].data<double>(), wide[1].data<double>(),
                               wide[2].data<double>(), wide[3].data<double>());
        std::vector<Tensor> before;
        for_thread_counts([&] {
          std::vector<Tensor> moved{parameter.clone(), m.clone(), v.clone()};
          adam_update(s, grad, moved[0], moved[1], moved[2]);
          for (std::size_t i = 0; i < moved.size(); ++i) {
            REQUIRE(max_relative_error(moved[i], wide[i + 1]) < 1e-6);
            REQUIRE((before.empty() || same_bits(moved[i], before[i])));
          }
          REQUIRE(same_bits(moved[0], parameter) == !update);
          before = moved;
        });
      }
    }
  }
}

TEST_CASE("adam_update explains shapes that do not fit", "[ops][adam_update][cpu]") {
  Tensor a = Tensor::zeros({3});
  Tensor b = Tensor::zeros({4});
  REQUIRE(error_of([&] { adam_update(some_step(true), a, b, b, b); }) ==
          "[adam_update] an operand has shape [3]; expected [4]");
}
