#include "core/half.h"

#include <cmath>
#include <limits>

#include "tests/support/testing.h"

using namespace rondo;

namespace {

float f16(float value) { return static_cast<float>(float16(value)); }
float bf16(float value) { return static_cast<float>(bfloat16(value)); }

template <typename Half>
Half from_bits(std::uint32_t bits) {
  Half half;
  half.bits = static_cast<std::uint16_t>(bits);
  return half;
}

// The first bit pattern that does not survive a conversion to float and back; -1 if all do.
template <typename Half>
std::int64_t first_changed() {
  for (std::uint32_t bits = 0; bits <= 0xffffU; ++bits) {
    const auto value = static_cast<float>(from_bits<Half>(bits));
    const Half back(value);
    const bool same = std::isnan(value) ? std::isnan(static_cast<float>(back)) : back.bits == bits;
    if (!same) {
      return bits;
    }
  }
  return -1;
}

// The first positive pattern where the float halfway to the next one does not round to even, or its
// neighbours do not round to the nearer; -1 if there is none. `infinity` is the pattern that ends
// the finite ones.
template <typename Half>
std::int64_t first_badly_rounded(std::uint32_t infinity) {
  for (std::uint32_t bits = 0; bits + 1 < infinity; ++bits) {
    const auto low = static_cast<double>(static_cast<float>(from_bits<Half>(bits)));
    const auto high = static_cast<double>(static_cast<float>(from_bits<Half>(bits + 1)));
    const auto middle = static_cast<float>((low + high) / 2);
    if (static_cast<double>(middle) * 2 != low + high) {
      continue;  // below the smallest float: there is no halfway
    }
    const std::uint32_t even = bits + (bits & 1U);
    const float limit = std::numeric_limits<float>::infinity();
    if (Half(middle).bits != even || Half(-middle).bits != (even | 0x8000U) ||
        Half(std::nextafter(middle, -limit)).bits != bits ||
        Half(std::nextafter(middle, limit)).bits != bits + 1) {
      return bits;
    }
  }
  return -1;
}

}  // namespace

TEST_CASE("every bit pattern of the 16-bit types survives float", "[core][half]") {
  REQUIRE(first_changed<float16>() == -1);
  REQUIRE(first_changed<bfloat16>() == -1);
}

TEST_CASE("the 16-bit types round to nearest, ties to even", "[core][half]") {
  REQUIRE(first_badly_rounded<float16>(0x7c00) == -1);
  REQUIRE(first_badly_rounded<bfloat16>(0x7f80) == -1);
}

TEST_CASE("float16 has the values of IEEE 754", "[core][half]") {
  REQUIRE(float16(1.0F).bits == 0x3c00);
  REQUIRE(float16(-2.0F).bits == 0xc000);
  REQUIRE(float16(0.0F).bits == 0x0000);
  REQUIRE(float16(-0.0F).bits == 0x8000);
  REQUIRE(f16(0.1F) == 0.0999755859375F);
  REQUIRE(f16(65504.0F) == 65504.0F);
  REQUIRE(f16(65519.996F) == 65504.0F);
  REQUIRE(std::isinf(f16(65520.0F)));
  REQUIRE(f16(-1e30F) == -std::numeric_limits<float>::infinity());
  REQUIRE(f16(std::ldexp(1.0F, -24)) == std::ldexp(1.0F, -24));
  REQUIRE(float16(std::ldexp(1.0F, -25)).bits == 0);  // halfway to 0, which is even
  REQUIRE(float16(std::ldexp(1.001F, -25)).bits == 1);
  REQUIRE(float16(-std::ldexp(1.0F, -30)).bits == 0x8000);
  REQUIRE(std::isnan(f16(std::numeric_limits<float>::quiet_NaN())));
  REQUIRE(std::isnan(f16(std::numeric_limits<float>::signaling_NaN())));
}

TEST_CASE("bfloat16 is the upper half of a float", "[core][half]") {
  REQUIRE(bfloat16(1.0F).bits == 0x3f80);
  REQUIRE(bfloat16(-0.0F).bits == 0x8000);
  REQUIRE(bf16(1.00390625F) == 1.0F);       // halfway, to even
  REQUIRE(bf16(1.01171875F) == 1.015625F);  // halfway, to even
  REQUIRE(std::isinf(bf16(std::numeric_limits<float>::max())));
  REQUIRE(std::isinf(bf16(std::numeric_limits<float>::infinity())));
  REQUIRE(std::isnan(bf16(std::numeric_limits<float>::quiet_NaN())));
  // A NaN whose payload is in the lower half only must not become infinity.
  REQUIRE(std::isnan(bf16(std::bit_cast<float>(0x7f800001U))));
  REQUIRE(std::isnan(bf16(std::bit_cast<float>(0xffffffffU))));
}
