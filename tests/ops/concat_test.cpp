#include "ops/concat.h"

#include "ops/elementwise.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

TEST_CASE("concat puts parts one after another along any dimension", "[ops][concat]") {
  const Variable a(on_test_device(Tensor::from<float>({1, 2, 3, 4}, {2, 2})));
  const Variable b(on_test_device(Tensor::from<float>({5, 6}, {1, 2})));
  const Variable c(on_test_device(Tensor::from<float>({7, 8}, {2, 1})));
  REQUIRE(same_bits(concat({a, b}, 0).value(), Tensor::from<float>({1, 2, 3, 4, 5, 6}, {3, 2})));
  REQUIRE(same_bits(concat({c, a}, -1).value(), Tensor::from<float>({7, 1, 2, 8, 3, 4}, {2, 3})));
  REQUIRE(same_bits(concat({a}, 1).value(), a.value()));
}

TEST_CASE("concat and split move elements of any type", "[ops][concat][split]") {
  const Variable ids(on_test_device(Tensor::from<std::int32_t>({1, 2, 3, 4, 5, 6}, {2, 3})));
  const auto parts = split(ids, {1, 2}, 1);
  REQUIRE(same_bits(parts[0].value(), Tensor::from<std::int32_t>({1, 4}, {2, 1})));
  REQUIRE(same_bits(parts[1].value(), Tensor::from<std::int32_t>({2, 3, 5, 6}, {2, 2})));
  REQUIRE(same_bits(concat(parts, 1).value(), ids.value()));
}

TEST_CASE("split undoes concat over odd sizes and every dimension", "[ops][concat][split]") {
  Generator generator(1);
  for (const bool offset : {false, true}) {
    for (const std::int64_t size : {1, 3, 17, 300}) {  // 300: enough bytes for two threads
      for (const int dim : {0, 1, 2, -1}) {
        const Shape shape{size, 5, size};
        const Variable a(random_tensor(shape, DType::f32, generator, -1, 1, offset));
        const Variable b(random_tensor(shape.with(dim, 2), DType::f32, generator, -1, 1, offset));
        const Variable none(on_test_device(Tensor::empty(shape.with(dim, 0))));
        for_thread_counts([&] {
          const Variable whole = concat({a, none, b}, dim);
          const auto parts = split(whole, {a.size(dim), 0, 2}, dim);
          REQUIRE(same_bits(parts[0].value(), a.value()));
          REQUIRE(parts[1].value().numel() == 0);
          REQUIRE(same_bits(parts[2].value(), b.value()));
        });
      }
    }
  }
}

TEST_CASE("narrow is a view of rows", "[ops][narrow]") {
  const Variable x(on_test_device(Tensor::from<float>({1, 2, 3, 4, 5, 6}, {3, 2})));
  const Variable rows = narrow(x, 1, 1);
  REQUIRE(same_bits(rows.value(), Tensor::from<float>({3, 4}, {1, 2})));
  REQUIRE(rows.value().shares_storage_with(x.value()));
}

TEST_CASE("reshape is a view with the right gradient", "[ops][reshape][gradient]") {
  const Variable x(on_test_device(Tensor::from<float>({1, 2, 3, 4, 5, 6}, {3, 2})));
  const Variable y = reshape(x, {1, 6});
  REQUIRE(y.shape() == Shape{1, 6});
  REQUIRE(y.value().shares_storage_with(x.value()));
  REQUIRE_THAT(error_of([&] { reshape(x, {4}); }), ContainsSubstring("[3, 2] cannot become [4]"));
  Generator generator(5);
  require_gradients(
      [](std::span<const Variable> in) {
        return std::vector<Variable>{concat({reshape(in[0], {3, 2}), in[1]}, 0)};
      },
      {random_parameter({2, 3}, DType::f64, generator),
       random_parameter({1, 2}, DType::f64, generator)});
}

TEST_CASE("concat, split and narrow have the right gradients", "[ops][concat][gradient]") {
  Generator generator(2);
  for (const bool offset : {false, true}) {
    for (const std::int64_t size : {1, 3, 17}) {
      for (const int dim : {0, 1, -1}) {
        const Shape shape{3, size, 2};
        require_gradients(
            [&](std::span<const Variable> in) {
              // The same part twice: its gradients add up.
              return std::vector<Variable>{concat({in[0], in[1], in[0]}, dim)};
            },
            {random_parameter(shape, DType::f64, generator, -1, 1, offset),
             random_parameter(shape.with(dim, 2), DType::f64, generator, -1, 1, offset)});
        require_gradients(
            [&](std::span<const Variable> in) {
              return split(in[0], {in[0].size(dim) - 1, 1}, dim);
            },
            {random_parameter(shape, DType::f64, generator, -1, 1, offset)});
      }
      require_gradients(
          [&](std::span<const Variable> in) {
            return std::vector<Variable>{narrow(in[0], 1, size), narrow(in[0], 0, 2)};
          },
          {random_parameter({size + 2, 3}, DType::f64, generator, -1, 1, offset)});
    }
  }
}

TEST_CASE("a part of a split that nothing used has gradient zero", "[ops][split][gradient]") {
  const Variable x(on_test_device(Tensor::from<double>({1, 2, 3, 4}, {2, 2})), true);
  backward(split(x, {1, 1}, 1)[1], on_test_device(Tensor::from<double>({5, 6}, {2, 1})));
  REQUIRE(same_bits(x.grad(), Tensor::from<double>({0, 5, 0, 6}, {2, 2})));
}

TEST_CASE("gradients handed on by concat stay apart", "[ops][concat][gradient]") {
  // Both parts have a second use, whose gradient is added in place.
  const Variable a(on_test_device(Tensor::from<double>({2}, {1, 1})), true);
  const Variable b(on_test_device(Tensor::from<double>({3}, {1, 1})), true);
  const Variable product = mul(a, b);
  backward(concat({a, b, product}, 0), on_test_device(Tensor::from<double>({10, 20, 1}, {3, 1})));
  REQUIRE(a.grad().item() == 13.0);
  REQUIRE(b.grad().item() == 22.0);
}

TEST_CASE("concat, split and narrow agree between devices", "[ops][concat][split][gpu]") {
  Generator generator(3);
  // Runs of 1 to 5 and of hundreds of words of every size: 16 bytes down to 2.
  for (const std::int64_t size : {1, 3, 4, 8, 40, 300}) {
    for (const int dim : {0, 1, 2}) {
      const Shape shape{3, 5, size};
      const std::vector<Tensor> inputs = {random_tensor(shape, DType::f32, generator),
                                          random_tensor(shape.with(dim, 2), DType::f32, generator)};
      for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
        INFO("size " << size << ", dim " << dim << ", " << name(type));
        require_devices_agree(
            [&](std::span<const Variable> in) {
              const Variable whole = concat({in[0], in[1], in[0]}, dim);
              std::vector<Variable> outputs = split(whole, {1, whole.size(dim) - 3, 0, 2}, dim);
              outputs.push_back(narrow(in[0], 1, 2));
              return outputs;
            },
            inputs, {}, type, type == DType::f32 ? 1e-7 : 1e-2);
      }
    }
  }
}

TEST_CASE("concat and split of many runs of single bytes", "[ops][concat][split]") {
  constexpr std::int64_t kRuns = 9000;  // more than the blocks of a GPU's grid take at once
  constexpr std::int64_t kBytes = 41;
  std::vector<std::uint8_t> bytes;
  for (std::int64_t i = 0; i < kRuns * kBytes; ++i) {
    bytes.push_back(static_cast<std::uint8_t>(i * i % 251));
  }
  const Variable x(on_test_device(Tensor::from(bytes, {kRuns, kBytes})));
  const auto parts = split(x, {1, kBytes - 1}, 1);
  const Tensor second = on_cpu(parts[1].value());
  for (const std::int64_t run : {std::int64_t{0}, kRuns / 2, kRuns - 1}) {
    REQUIRE(second.data<std::uint8_t>()[run * (kBytes - 1)] ==
            bytes[static_cast<std::size_t>(run * kBytes + 1)]);
  }
  REQUIRE(same_bits(concat(parts, 1).value(), x.value()));
}

TEST_CASE("concat, split and narrow explain what does not fit", "[ops][concat]") {
  const Variable a(Tensor::zeros({4, 3}));
  REQUIRE(error_of([&] {
            concat({a, Variable(Tensor::zeros({4, 2}))}, 0);
          }) ==
          "[concat] part 1 has shape [4, 2]; expected that of part 0, [4, 3], but for dimension 0");
  REQUIRE(error_of([&] {
            concat({a, Variable(Tensor::zeros({4, 3}, DType::f64))}, 0);
          }) == "[concat] part 1 is f64 on cpu; expected f32 on cpu, as the other inputs");
  REQUIRE(error_of([&] { concat({}, 0); }) == "[concat] there are no parts; give at least one");
  REQUIRE(error_of([&] { concat({a}, 2); }) ==
          "[concat] dimension 2 does not exist in shape [4, 3]");
  REQUIRE(error_of([&] {
            split(a, {1, 1}, -1);
          }) == "[split] sizes [1, 1] do not add up to dimension 1 of shape [4, 3]");
  REQUIRE(error_of([&] { narrow(a, 3, 2); }) ==
          "[narrow] 2 rows from row 3 on do not exist in shape [4, 3]");
}

TEST_CASE("tensors without values are not put together", "[ops][concat]") {
  const Variable part(Tensor::empty({2, 3}, DType::f32, Device::meta()));
  REQUIRE_THAT(error_of([&] { concat({part, part}, 0); }), ContainsSubstring("[concat]"));
  REQUIRE_THAT(error_of([&] { split(part, {1, 1}, 0); }), ContainsSubstring("[concat]"));
}
