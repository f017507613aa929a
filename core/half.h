// The two 16-bit floating-point storage types. They hold values; arithmetic happens in float.
#pragma once

#include <bit>
#include <cstdint>

namespace rondo {

// bfloat16: the upper half of a float. Conversion rounds to nearest, ties to even; NaN stays NaN.
struct bfloat16 {
  std::uint16_t bits = 0;

  bfloat16() = default;
  explicit bfloat16(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    if ((word & 0x7fffffffU) > 0x7f800000U) {
      bits = static_cast<std::uint16_t>((word >> 16U) | 0x0040U);  // a quiet NaN
      return;
    }
    const std::uint32_t rounding = 0x7fffU + ((word >> 16U) & 1U);
    bits = static_cast<std::uint16_t>((word + rounding) >> 16U);
  }
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
  }
};

// IEEE 754 binary16. Conversion rounds to nearest, ties to even; overflow gives infinity.
struct float16 {
  std::uint16_t bits = 0;

  float16() = default;
  explicit float16(float value);
  explicit operator float() const;
};

}  // namespace rondo
