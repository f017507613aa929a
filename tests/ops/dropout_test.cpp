#include "ops/dropout.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cuda_kernels/dropout.h"
#include "ops/cpu/dropout_mask.h"
#include "ops/device.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

TEST_CASE("dropout keeps the elements whose random word is large enough", "[ops][dropout]") {
  Generator generator(1);
  for (const std::int64_t size : {1, 3, 17, 1000, 40001}) {  // the last is work for two threads
    for (const bool offset : {false, true}) {
      const Tensor x = random_tensor({size}, DType::f32, generator, -1, 1, offset);
      const Tensor values = on_cpu(x);
      for (const double p : {0.1, 0.5, 0.99}) {
        const Generator before = generator;
        const RandomStream stream = Generator(before).next();
        std::vector<float> expected;
        std::vector<float> expected_mask;
        for (std::int64_t i = 0; i < size; ++i) {
          const bool kept =
              unit_float(stream.word(static_cast<std::uint64_t>(i))) >= static_cast<float>(p);
          expected_mask.push_back(kept ? static_cast<float>(1.0 / (1.0 - p)) : 0.0F);
          expected.push_back(kept ? values.data<float>()[i] * expected_mask.back() : 0.0F);
        }
        for_thread_counts([&] {
          generator = before;
          REQUIRE(same_bits(dropout(Variable(x), p, generator).value(),
                            Tensor::from(expected, {size})));
          generator = before;
          REQUIRE(same_bits(dropout_mask({size}, p, DType::f32, generator, test_device()),
                            Tensor::from(expected_mask, {size})));
          REQUIRE(generator.next_stream() == before.next_stream() + 1);
        });
      }
    }
  }
}

TEST_CASE("dropout masks have the right share of zeros and mean 1", "[ops][dropout]") {
  Generator generator(2);
  constexpr std::int64_t kCount = 100000;
  for (const double p : {0.1, 0.22, 0.5, 0.9}) {
    const Tensor mask = on_cpu(dropout_mask({kCount}, p, DType::f64, generator, test_device()));
    const auto values = mask.values<double>();
    const auto kept = std::count_if(values.begin(), values.end(), [](double v) { return v != 0; });
    const double share = static_cast<double>(kept) / kCount;
    REQUIRE(std::abs(share - (1 - p)) < 5 * std::sqrt(p * (1 - p) / kCount));
    REQUIRE(*std::max_element(values.begin(), values.end()) == 1 / (1 - p));
  }
}

TEST_CASE("each call of dropout has a mask of its own", "[ops][dropout]") {
  Generator generator(3);
  const auto next = [&] { return dropout_mask({100}, 0.5, DType::f32, generator, test_device()); };
  const Tensor first = next();
  REQUIRE_FALSE(same_bits(first, next()));
}

TEST_CASE("backward of dropout uses the mask of forward", "[ops][dropout][gradient]") {
  Generator generator(4);
  for (const std::int64_t size : {1, 3, 17, 40001}) {
    for_thread_counts([&] {
      const Variable x(Tensor::full({size}, 1.0, DType::f64, test_device()), true);
      const Variable y = dropout(x, 0.3, generator);
      const Generator after = generator;
      backward(y, Tensor::full({size}, 1.0, DType::f64, test_device()));
      REQUIRE(same_bits(x.grad(), y.value()));
      REQUIRE(generator.next_stream() == after.next_stream());
    });
  }
  require_gradients(
      [](std::span<const Variable> in) {
        Generator same(5);
        return std::vector<Variable>{dropout(in[0], 0.4, same)};
      },
      {random_parameter({3, 17}, DType::f64, generator, -1, 1, true)});
}

TEST_CASE("dropout masks made on vectors are those made word by word", "[ops][dropout][cpu]") {
  for (const RandomStream stream : {RandomStream{1, 2}, RandomStream{~0ULL, 1ULL << 40U}}) {
    for (const std::int64_t first : {std::int64_t{0}, std::int64_t{5}, std::int64_t{1} << 33}) {
      for (const float p : {1e-9F, 0.1F, 0.5F, 0.999F}) {
        std::vector<std::uint8_t> plain(3 * 8);
        std::vector<std::uint8_t> vectorised(3 * 8);
        cpu::make_dropout_mask_plain(stream, p, first, 3, plain.data());
        cpu::make_dropout_mask(stream, p, first, 3, vectorised.data());
        REQUIRE(vectorised == plain);
      }
    }
  }
}

TEST_CASE("a dropout mask is applied to any number of elements", "[ops][dropout][cpu]") {
  Generator generator(8);
  std::vector<std::uint8_t> bits(2 * 8);
  cpu::make_dropout_mask(generator.next(), 0.5F, 0, 2, bits.data());
  for (const std::int64_t n : {1, 7, 16, 17, 63, 100, 128}) {
    const Tensor x = random_tensor({n}, DType::f32, generator, -1, 1, true);
    Tensor y = Tensor::full({n + 1}, 7.0);
    cpu::apply_dropout_mask(bits.data(), 2.0F, x.data<float>(), n, y.data<float>());
    for (std::int64_t i = 0; i < n; ++i) {
      const bool kept = ((bits[static_cast<std::size_t>(i / 8)] >> (i % 8)) & 1U) != 0;
      REQUIRE(y.data<float>()[i] == (kept ? 2.0F * x.data<float>()[i] : 0.0F));
    }
    REQUIRE(y.data<float>()[n] == 7.0F);  // nothing is written past the end
  }
}

TEST_CASE("dropout agrees between devices", "[ops][dropout][gpu]") {
  Generator generator(9);
  // Less than a group of 8, several, several blocks; a last group that is not full.
  for (const std::int64_t size : {1, 7, 8, 40, 2049, 5000}) {
    const Tensor x = random_tensor({size}, DType::f32, generator);
    for (const double p : {0.1, 0.5}) {
      for (const auto& [type, tolerance] :
           {std::pair(DType::f32, 1e-7), std::pair(DType::bf16, 1e-2),
            std::pair(DType::f16, 1e-2)}) {
        INFO("size " << size << ", p " << p << ", " << name(type));
        require_devices_agree(
            [&, p = p](std::span<const Variable> in) {
              Generator same(10);
              return std::vector<Variable>{dropout(in[0], p, same)};
            },
            {x}, {}, type, tolerance);
        Generator same(11);
        const Tensor expected = dropout_mask({size}, p, DType::f32, same);
        same = Generator(11);
        REQUIRE(same_bits(dropout_mask({size}, p, type, same, test_device()), expected.to(type)));
      }
    }
  }
}

TEST_CASE("the kernels of dropout write nothing past the end", "[ops][dropout][gpu]") {
  for (const std::int64_t size : {1, 7, 8, 12, 2049}) {
    Tensor to = Tensor::full({size + 8}, 7.0, DType::f32, test_device());
    run_on(
        test_device(), [] {},
        [&](auto stream) {
          cuda::dropout_mask({1, 2, dropout_threshold(0.5F), 2.0}, to.device_data<float>(), size,
                             stream);
        });
    const Tensor values = on_cpu(to);
    for (std::int64_t i = 0; i < size + 8; ++i) {
      REQUIRE((values.data<float>()[i] == 7.0F) == (i >= size));
    }
  }
}

TEST_CASE("dropout drops infinities and NaN", "[ops][dropout]") {
  Generator generator(12);
  const Variable x(on_test_device(Tensor::full({100}, std::numeric_limits<double>::infinity())));
  const Tensor y = on_cpu(dropout(x, 0.5, generator).value());
  const auto values = y.values<float>();
  REQUIRE(std::any_of(values.begin(), values.end(), [](float v) { return v == 0.0F; }));
  REQUIRE(std::none_of(values.begin(), values.end(), [](float v) { return std::isnan(v); }));
}

TEST_CASE("dropout with p = 0 does nothing and draws nothing", "[ops][dropout]") {
  Generator generator(6);
  const Variable x(on_test_device(Tensor::zeros({3})));
  REQUIRE(dropout(x, 0.0, generator).value().raw() == x.value().raw());
  REQUIRE(same_bits(dropout_mask({3}, 0.0, DType::f32, generator, test_device()),
                    Tensor::full({3}, 1.0)));
  REQUIRE(generator.next_stream() == 0);
}

TEST_CASE("dropout explains a probability that is none", "[ops][dropout]") {
  Generator generator(7);
  const Variable x(Tensor::zeros({3}));
  REQUIRE(error_of([&] { dropout(x, 1.0, generator); }) ==
          "[dropout] p is 1; expected a probability in [0, 1)");
  REQUIRE(error_of([&] { dropout_mask({3}, -0.5, DType::f32, generator); }) ==
          "[dropout_mask] p is -0.5; expected a probability in [0, 1)");
  REQUIRE(generator.next_stream() == 0);
}
