// Philox 4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011): a
// counter-based generator. Element i of a stream is a pure function of (seed, stream, i), so a
// dropout mask need not be stored and is the same on every device and for every thread count.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/scalar/portable.h"

namespace rondo {

struct Philox4 {
  std::uint32_t word[4];
};

// a * b of twice the width.
RONDO_HOST_DEVICE std::uint64_t wide_product(std::uint32_t a, std::uint32_t b) {
#ifdef __CUDA_ARCH__
  std::uint64_t product;  // else the compiler adds a zero to every high half
  asm("mul.wide.u32 %0, %1, %2;" : "=l"(product) : "r"(a), "r"(b));
  return product;
#else
  return std::uint64_t{a} * b;
#endif
}

// The four words of block `block` of stream `stream` under `seed`.
RONDO_HOST_DEVICE Philox4 philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t block) {
  constexpr std::uint32_t kMultiplier0 = 0xD2511F53U;
  constexpr std::uint32_t kMultiplier1 = 0xCD9E8D57U;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9U;
  constexpr std::uint32_t kWeyl1 = 0xBB67AE85U;
  auto key0 = static_cast<std::uint32_t>(seed);
  auto key1 = static_cast<std::uint32_t>(seed >> 32U);
  auto c0 = static_cast<std::uint32_t>(block);
  auto c1 = static_cast<std::uint32_t>(block >> 32U);
  auto c2 = static_cast<std::uint32_t>(stream);
  auto c3 = static_cast<std::uint32_t>(stream >> 32U);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = wide_product(kMultiplier0, c0);
    const std::uint64_t product1 = wide_product(kMultiplier1, c2);
    const std::uint32_t next0 = static_cast<std::uint32_t>(product1 >> 32U) ^ c1 ^ key0;
    const std::uint32_t next2 = static_cast<std::uint32_t>(product0 >> 32U) ^ c3 ^ key1;
    c1 = static_cast<std::uint32_t>(product1);
    c3 = static_cast<std::uint32_t>(product0);
    c0 = next0;
    c2 = next2;
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return {{c0, c1, c2, c3}};
}

// A word as a float in [0, 1), a multiple of 2^-24.
RONDO_HOST_DEVICE float unit_float(std::uint32_t word) {
  return static_cast<float>(word >> 8U) * 0x1p-24F;
}

// What dropout_keeps takes for the dropout probability p, in [0, 1]: unit_float(word) >= p is
// (word >> 8) >= p * 2^24, whole numbers once rounded up.
inline std::uint32_t dropout_threshold(float p) {
  return static_cast<std::uint32_t>(std::ceil(static_cast<double>(p) * 0x1p24));
}

// True when the element whose random word is `word` is kept.
RONDO_HOST_DEVICE bool dropout_keeps(std::uint32_t word, std::uint32_t threshold) {
  return word >> 8U >= threshold;
}

}  // namespace rondo
