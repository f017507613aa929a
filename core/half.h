// The two 16-bit floating-point storage types. They hold values; arithmetic happens in float.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "core/scalar/portable.h"
#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace rondo {

// bfloat16: the upper half of a float. Conversion rounds to nearest, ties to even; NaN stays NaN.
struct bfloat16 {
  std::uint16_t bits = 0;

  bfloat16() = default;
  RONDO_HOST_DEVICE explicit bfloat16(float value) {
#ifdef __CUDA_ARCH__
    bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
#else
    const auto word = std::bit_cast<std::uint32_t>(value);
    if ((word & 0x7fffffffU) > 0x7f800000U) {
      bits = static_cast<std::uint16_t>((word >> 16U) | 0x0040U);  // a quiet NaN
      return;
    }
    const std::uint32_t rounding = 0x7fffU + ((word >> 16U) & 1U);
    bits = static_cast<std::uint16_t>((word + rounding) >> 16U);
#endif
  }
  RONDO_HOST_DEVICE explicit operator float() const {
#ifdef __CUDA_ARCH__
    return __uint_as_float(static_cast<std::uint32_t>(bits) << 16U);
#else
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
#endif
  }
};

// IEEE 754 binary16 in plain C++ (core/half.cpp). Rounds to nearest, ties to even; overflow gives
// infinity.
std::uint16_t float16_bits(float value);
float float16_value(std::uint16_t bits);

// IEEE 754 binary16.
struct float16 {
  std::uint16_t bits = 0;

  float16() = default;
  RONDO_HOST_DEVICE explicit float16(float value) {
#ifdef __CUDA_ARCH__
    bits = __half_as_ushort(__float2half_rn(value));
#else
    bits = float16_bits(value);
#endif
  }
  RONDO_HOST_DEVICE explicit operator float() const {
#ifdef __CUDA_ARCH__
    return __half2float(__ushort_as_half(bits));
#else
    return float16_value(bits);
#endif
  }
};

// The type that arithmetic on T happens in, and that parameters met by T are kept in: double for
// double, float for all others.
template <typename T>
using ComputeType = std::conditional_t<std::is_same_v<T, double>, double, float>;

}  // namespace rondo
