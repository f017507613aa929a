#include "core/random.h"

#include <cmath>

#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

std::vector<std::uint32_t> words_of(std::uint64_t seed, std::uint64_t stream, std::uint64_t block) {
  const Philox4 four = philox(seed, stream, block);
  return {four.word, four.word + 4};
}

}  // namespace

TEST_CASE("Philox 4x32-10 gives the published words", "[core][random]") {
  // The known-answer vectors of Random123. Its counter is (block, stream), its key the seed, each
  // with the low word first.
  REQUIRE(words_of(0, 0, 0) ==
          std::vector<std::uint32_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  REQUIRE(words_of(0xffffffffffffffff, 0xffffffffffffffff, 0xffffffffffffffff) ==
          std::vector<std::uint32_t>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  REQUIRE(words_of(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88) ==
          std::vector<std::uint32_t>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a stream's words are those of its blocks in turn", "[core][random]") {
  const RandomStream stream{7, 9};
  for (const std::uint64_t index : {0U, 1U, 3U, 4U, 1001U}) {
    REQUIRE(stream.word(index) == words_of(7, 9, index / 4)[index % 4]);
  }
}

TEST_CASE("unit_float covers 0 to below 1 and rounds down", "[core][random]") {
  REQUIRE(unit_float(0) == 0.0F);
  REQUIRE(unit_float(0xff) == 0.0F);
  REQUIRE(unit_float(0x80000000) == 0.5F);
  REQUIRE(unit_float(0xffffffff) < 1.0F);
}

TEST_CASE("a generator hands out one stream after another and goes on where it was saved",
          "[core][random]") {
  Generator generator(5);
  REQUIRE(generator.next().stream == 0);
  const Generator saved = generator;
  REQUIRE(generator.next().stream == 1);
  Generator restored(saved.seed(), saved.next_stream());
  REQUIRE(restored.next().stream == 1);
  REQUIRE(restored.next().seed == 5);
}

TEST_CASE("fill_uniform keeps to its range and draws a stream on every device", "[core][random]") {
  Generator generator(3);
  Tensor values = Tensor::empty({10000}, DType::f64);
  fill_uniform(values, -2.0, 6.0, generator);
  double sum = 0.0;
  for (const double value : values.values<double>()) {
    REQUIRE(value >= -2.0);
    REQUIRE(value < 6.0);
    sum += value;
  }
  // Five standard deviations of the mean of 10000: 5 * 8 / sqrt(12) / 100.
  REQUIRE(std::abs(sum / 10000 - 2.0) < 0.116);

  Tensor shape_only = Tensor::empty({10}, DType::f32, Device::meta());
  fill_uniform(shape_only, 0.0, 1.0, generator);
  REQUIRE(generator.next_stream() == 2);
}
