#include "ops/embedding.h"

#include <cmath>
#include <limits>

#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// Ids from 0 to limit - 1 on the CPU, as a view that starts inside a larger storage if `offset`.
Tensor random_ids(const Shape& shape, std::int64_t limit, Generator& generator, bool offset) {
  const Tensor values = on_cpu(
      random_tensor({shape.numel() + 1}, DType::f64, generator, 0, static_cast<double>(limit)));
  std::vector<std::int32_t> ids;
  for (const double value : values.values<double>()) {
    ids.push_back(static_cast<std::int32_t>(value));
  }
  const Tensor storage = Tensor::from(ids, {shape.numel() + 1});
  return storage.narrow(offset ? 1 : 0, shape.numel()).reshape(shape);
}

}  // namespace

TEST_CASE("embedding takes rows of the weight", "[ops][embedding]") {
  const Variable weight(on_test_device(Tensor::from<float>({1, 2, 3, 4, 5, 6}, {3, 2})), true);
  const Tensor ids = Tensor::from<std::int32_t>({2, 0, 2, 2}, {2, 2});
  const Variable y = embedding(ids, weight);
  REQUIRE(same_bits(y.value(), Tensor::from<float>({5, 6, 1, 2, 5, 6, 5, 6}, {2, 2, 2})));
  backward(y, on_test_device(Tensor::from<float>({1, 2, 3, 4, 5, 6, 7, 8}, {2, 2, 2})));
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
          const Tensor y = on_cpu(embedding(ids, Variable(weight)).value());
          const Tensor rows = on_cpu(weight);
          bool equal = true;
          for (std::int64_t i = 0; i < count; ++i) {
            equal = equal && same_bits(y[i], rows[ids.data<std::int32_t>()[i]]);
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
      const Variable weight(on_test_device(Tensor::zeros({3, 131})), true);
      backward(embedding(ids, weight), grad);
      found.push_back(weight.grad());
    });
  }
  for (const Tensor& gradient : found) {
    REQUIRE(same_bits(gradient, found[0]));
  }
}

TEST_CASE("embedding agrees between devices", "[ops][embedding][gpu]") {
  Generator generator(4);
  struct Case {
    std::int64_t v, count, d;
  };
  // One id many times over; as many as fit in 1, 2 and 5 digits of the sort; pieces of sorted ids
  // that are full and not, with ids that begin and end inside, at the end of, and beyond them;
  // vectors and none, one tile of columns and several.
  for (const Case& c :
       {Case{1, 1, 1}, Case{1, 500, 8}, Case{15, 32, 5}, Case{16, 33, 8}, Case{205, 700, 64},
        Case{205, 64, 1100}, Case{256, 600, 3}, Case{300000, 40, 8}, Case{2, 1300, 40}}) {
    const Tensor ids = random_ids({c.count}, c.v, generator, true);
    const Tensor weight = random_tensor({c.v, c.d}, DType::f32, generator);
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      INFO("V " << c.v << ", ids " << c.count << ", d " << c.d << ", " << name(type));
      require_devices_agree(
          [&](std::span<const Variable> in) {
            const bool on_gpu = in[0].device().is_cuda();
            return std::vector<Variable>{embedding(ids, in[0], on_gpu ? type : DType::f32)};
          },
          {}, {weight}, type, type == DType::f32 ? 1e-5 : 1e-2);
    }
  }
}

TEST_CASE("the result of embedding can have another type", "[ops][embedding]") {
  Generator generator(5);
  const Tensor ids = random_ids({9}, 4, generator, false);
  const Variable weight = random_parameter({4, 6}, DType::f32, generator);
  const Tensor plain = embedding(ids, weight).value();
  for (const DType type : {DType::bf16, DType::f16, DType::f64}) {
    const Variable y = embedding(ids, weight, type);
    REQUIRE(same_bits(y.value(), plain.to(type)));
    backward(y, Tensor::full({9, 6}, 1.0, type, test_device()));
    REQUIRE(weight.grad().dtype() == DType::f32);
  }
  const Tensor half = on_test_device(Tensor::zeros({4, 6}, DType::bf16));
  REQUIRE(error_of([&] { embedding(ids, Variable(half)); }) ==
          "[embedding] weight is bf16; expected f32 or f64");
}

TEST_CASE("ids on the GPU that do not exist give rows of NaN and no gradient",
          "[ops][embedding][gpu]") {
  for (const std::int64_t v : {5, 16}) {
    const Variable weight(on_test_device(Tensor::full({v, 4}, 2.0)), true);
    const Tensor ids = on_test_device(Tensor::from<std::int32_t>(
        {1, -1, static_cast<int>(v), 1, std::numeric_limits<int>::max(), 4}, {6}));
    const Variable y = embedding(ids, weight);
    const Tensor values = on_cpu(y.value());
    for (std::int64_t i = 0; i < values.numel(); ++i) {
      const std::int64_t row = i / 4;
      const bool bad = row == 1 || row == 2 || row == 4;
      REQUIRE((bad ? std::isnan(values.data<float>()[i]) : values.data<float>()[i] == 2.0F));
    }
    backward(y, Tensor::full({6, 4}, 1.0, DType::f32, test_device()));
    Tensor expected = Tensor::zeros({v, 4});
    expected.narrow(1, 1).fill(2.0);
    expected.narrow(4, 1).fill(1.0);
    REQUIRE(same_bits(weight.grad(), expected));
  }
}

TEST_CASE("embedding of no ids", "[ops][embedding]") {
  const Variable weight(on_test_device(Tensor::zeros({5, 2})), true);
  const Variable y = embedding(Tensor::empty({0, 3}, DType::i32), weight);
  REQUIRE(y.shape() == Shape{0, 3, 2});
  backward(y, on_test_device(Tensor::zeros({0, 3, 2})));
  REQUIRE(same_bits(weight.grad(), Tensor::zeros({5, 2})));
}

TEST_CASE("embedding explains ids that do not exist", "[ops][embedding]") {
  const Variable weight(on_test_device(Tensor::zeros({5, 2})));
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
