#include "ops/embedding.h"

#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// Ids from 0 to limit - 1, as a view that starts inside a larger storage if `offset`.
Tensor random_ids(const Shape& shape, std::int64_t limit, Generator& generator, bool offset) {
  const Tensor values =
      random_tensor({shape.numel() + 1}, DType::f64, generator, 0, static_cast<double>(limit));
  std::vector<std::int32_t> ids;
  for (const double value : values.values<double>()) {
    ids.push_back(static_cast<std::int32_t>(value));
  }
  const Tensor storage = Tensor::from(ids, {shape.numel() + 1});
  return storage.narrow(offset ? 1 : 0, shape.numel()).reshape(shape);
}

}  // namespace

TEST_CASE("embedding takes rows of the weight", "[ops][embedding]") {
  const Variable weight(Tensor::from<float>({1, 2, 3, 4, 5, 6}, {3, 2}), true);
  const Tensor ids = Tensor::from<std::int32_t>({2, 0, 2, 2}, {2, 2});
  const Variable y = embedding(ids, weight);
  REQUIRE(same_bits(y.value(), Tensor::from<float>({5, 6, 1, 2, 5, 6, 5, 6}, {2, 2, 2})));
  backward(y, Tensor::from<float>({1, 2, 3, 4, 5, 6, 7, 8}, {2, 2, 2}));
  REQUIRE(same_bits(weight.grad(), Tensor::from<float>({3, 4, 0, 0, 13, 16}, {3, 2})));
}

TEST_CASE("embedding agrees with row copies over odd sizes", "[ops][embedding]") {
  Generator generator(1);
  for (const std::int64_t count : {1, 3, 17, 1000}) {
    for (const std::int64_t d : {1, 3, 17, 130}) {
      for (const bool offset : {false, true}) {
        const Tensor weight = random_tensor({7, d}, DType::f32, generator, -1, 1, offset);
        const Tensor ids = random_ids({count}, 7, generator, offset);
        for_thread_counts([&] {
          const Tensor y = embedding(ids, Variable(weight)).value();
          bool equal = true;
          for (std::int64_t i = 0; i < count; ++i) {
            equal = equal && same_bits(y[i], weight[ids.data<std::int32_t>()[i]]);
          }
          REQUIRE(equal);
        });
      }
    }
  }
}

TEST_CASE("embedding has the right gradient", "[ops][embedding][gradient]") {
  Generator generator(2);
  for (const std::int64_t d : {1, 3, 17}) {
    for (const bool offset : {false, true}) {
      const Tensor ids = random_ids({2, 9}, 5, generator, offset);
      require_gradients(
          [&](std::span<const Variable> in) {
            return std::vector<Variable>{embedding(ids, in[0])};
          },
          {random_parameter({5, d}, DType::f64, generator, -1, 1, offset)});
    }
  }
}

TEST_CASE("the gradient of embedding does not depend on the thread count", "[ops][embedding]") {
  Generator generator(3);
  const Tensor ids = random_ids({500}, 3, generator, false);
  const Tensor grad = random_tensor({500, 131}, DType::f32, generator);
  std::vector<Tensor> found;
  for (int repeat = 0; repeat < 2; ++repeat) {
    for_thread_counts([&] {
      const Variable weight(Tensor::zeros({3, 131}), true);
      backward(embedding(ids, weight), grad);
      found.push_back(weight.grad());
    });
  }
  for (const Tensor& gradient : found) {
    REQUIRE(same_bits(gradient, found[0]));
  }
}

TEST_CASE("embedding explains ids that do not exist", "[ops][embedding]") {
  const Variable weight(Tensor::zeros({5, 2}));
  REQUIRE(error_of([&] {
            embedding(Tensor::from<std::int32_t>({0, 4, 1, 5}, {2, 2}), weight);
          }) ==
          "[embedding] ids: 5 at position 3 of shape [2, 2] is out of range; expected 0 to 4");
  REQUIRE_THAT(error_of([&] { embedding(Tensor::from<std::int32_t>({-1}, {1}), weight); }),
               ContainsSubstring("ids: -1 at position 0"));
  REQUIRE(error_of([&] { embedding(Tensor::zeros({2}), weight); }) ==
          "[embedding] ids must be a tensor of i32, not f32");
  REQUIRE(error_of([&] { embedding(Tensor(), weight); }) ==
          "[embedding] ids must be a tensor of i32");
}
