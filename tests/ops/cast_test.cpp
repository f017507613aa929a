#include "ops/cast.h"

#include "ops/elementwise.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

TEST_CASE("cast rounds the value and hands the gradient back in the type of x", "[ops][cast]") {
  const Variable x(on_test_device(Tensor::from<float>({1.0F, 0.1F, -3.0F}, {3})), true);
  const Variable y = cast(x, DType::bf16);
  REQUIRE(y.dtype() == DType::bf16);
  REQUIRE(same_bits(y.value(), x.value().to(DType::bf16)));
  REQUIRE(max_relative_error(y.value(), x.value()) > 1e-5);  // 0.1 is none of bf16's numbers
  backward(y, on_test_device(Tensor::from<float>({2.0F, 0.5F, 1.0F}, {3}).to(DType::bf16)));
  REQUIRE(same_bits(x.grad(), on_test_device(Tensor::from<float>({2.0F, 0.5F, 1.0F}, {3}))));
}

TEST_CASE("cast to the same type is the same variable", "[ops][cast]") {
  const Variable x(on_test_device(Tensor::from<float>({1.0F}, {1})), true);
  REQUIRE(cast(x, DType::f32).value().shares_storage_with(x.value()));
}
