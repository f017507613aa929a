#include "autograd/variable.h"

#include "ops/elementwise.h"
#include "ops/linear.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

TEST_CASE("backward accumulates over uses and calls", "[autograd]") {
  Variable w(Tensor::from<double>({2.0}, {1, 1}), true);
  const auto run = [&] {
    const Variable y = linear(linear(w, w), w);  // w^3
    backward(y);
  };
  run();
  REQUIRE(w.grad().item() == Approx(12.0));
  run();
  REQUIRE(w.grad().item() == Approx(24.0));
  w.zero_grad();
  REQUIRE_FALSE(w.grad().defined());
}

TEST_CASE("no history is kept under NoGradGuard or through detach", "[autograd]") {
  Variable w(Tensor::from<double>({2.0}, {1, 1}), true);
  {
    const NoGradGuard guard;
    REQUIRE_FALSE(linear(w, w).requires_grad());
  }
  REQUIRE(grad_enabled());
  const Variable y = linear(linear(w, w).detach(), w);  // only the outer use counts
  backward(y);
  REQUIRE(w.grad().item() == Approx(4.0));
}

TEST_CASE("backward explains what it cannot do", "[autograd]") {
  Variable w(Tensor::from<double>({2.0}, {1, 1}), true);
  REQUIRE_THAT(error_of([&] { backward(w.detach()); }),
               ContainsSubstring("depends on nothing that requires a gradient"));
  const Variable y = linear(w, w);
  backward(y);
  REQUIRE_THAT(error_of([&] { backward(y); }),
               ContainsSubstring("released by an earlier backward"));
  Variable vector(Tensor::zeros({3}), true);
  REQUIRE_THAT(error_of([&] { backward(vector); }), ContainsSubstring("needs its gradient given"));
}

TEST_CASE("a long history may go without backward, or after it", "[autograd]") {
  const std::int64_t length = 299'999;  // a multiple of 7
  Variable w(Tensor::from<double>({1.0}, {1}), true);
  for (const bool runs_backward : {false, true}) {
    Variable y = w;
    for (std::int64_t i = 0; i < length; ++i) {
      y = i % 7 == 0 ? add(y, y) : scale(y, i % 7 == 1 ? 0.5 : 1.0);  // diamonds, too
    }
    if (runs_backward) {
      backward(y);
      REQUIRE(w.grad().item() == Approx(1.0));
    }
  }
}
