#include <algorithm>
#include <cmath>

#include "ops/cpu/dropout_mask.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/dropout_mask_simd.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::cpu::HWY_NAMESPACE {

using WordTag = hn::ScalableTag<std::uint32_t>;
using Words = hn::Vec<WordTag>;

#if HWY_TARGET == HWY_SCALAR

void MakeDropoutMask(const RandomStream& stream, float p, std::int64_t first, std::int64_t count,
                     std::uint8_t* bits) {
  make_dropout_mask_plain(stream, p, first, count, bits);
}

#else

struct Product {
  Words high, low;
};

// The 64-bit products of 32-bit lanes, cut into halves.
HWY_INLINE Product multiply(Words x, Words y) {
  const WordTag d;
  const hn::Repartition<std::uint64_t, WordTag> d64;
  const auto odd_lanes = [&](Words v) HWY_ATTR {
    return hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(d64, v)));
  };
  const auto even = hn::MulEven(x, y);
  const auto odd = hn::MulEven(odd_lanes(x), odd_lanes(y));
  return {hn::OddEven(hn::BitCast(d, odd), hn::BitCast(d, hn::ShiftRight<32>(even))),
          hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(odd)), hn::BitCast(d, even))};
}

// Philox 4x32-10 as in core/scalar/philox.h, one block a lane: the four words of the blocks
// block, block + 1, ...
struct Philox {
  Words c0, c1, c2, c3;
};

HWY_INLINE Philox philox_blocks(const RandomStream& stream, std::uint64_t block) {
  const WordTag d;
  const auto low = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
  const auto high = [](std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32U); };
  // A group begins at a multiple of 16 blocks, so that the lower halves of its counters do not
  // wrap.
  Philox s{hn::Iota(d, low(block)), hn::Set(d, high(block)), hn::Set(d, low(stream.stream)),
           hn::Set(d, high(stream.stream))};
  const Words multiplier0 = hn::Set(d, 0xD2511F53U);
  const Words multiplier1 = hn::Set(d, 0xCD9E8D57U);
  std::uint32_t key0 = low(stream.seed);
  std::uint32_t key1 = high(stream.seed);
  for (int round = 0; round < 10; ++round) {
    const Product p0 = multiply(multiplier0, s.c0);
    const Product p1 = multiply(multiplier1, s.c2);
    s.c0 = hn::Xor(hn::Xor(p1.high, s.c1), hn::Set(d, key0));
    s.c2 = hn::Xor(hn::Xor(p0.high, s.c3), hn::Set(d, key1));
    s.c1 = p1.low;
    s.c3 = p0.low;
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return s;
}

void MakeDropoutMask(const RandomStream& stream, float p, std::int64_t first, std::int64_t count,
                     std::uint8_t* bits) {
  const WordTag d;
  const hn::RebindToSigned<WordTag> signed_d;
  const auto width = static_cast<std::int64_t>(hn::Lanes(d));
  constexpr std::int64_t kBlocks = kDropoutGroup / 4;
  if (width < 8 || width > kBlocks) {  // a byte of bits, or a group, is not whole vectors
    make_dropout_mask_plain(stream, p, first, count, bits);
    return;
  }
  const auto below = hn::Set(signed_d, static_cast<std::int32_t>(dropout_threshold(p)) - 1);
  HWY_ALIGN std::uint32_t words[kDropoutGroup];
  for (std::int64_t group = 0; group < count; ++group) {
    for (std::int64_t block = 0; block < kBlocks; block += width) {
      const Philox s =
          philox_blocks(stream, static_cast<std::uint64_t>((first + group) * kBlocks + block));
      hn::StoreInterleaved4(s.c0, s.c1, s.c2, s.c3, d, words + 4 * block);
    }
    for (std::int64_t i = 0; i < kDropoutGroup; i += width) {
      const auto value = hn::BitCast(signed_d, hn::ShiftRight<8>(hn::Load(d, words + i)));
      hn::StoreMaskBits(signed_d, hn::Gt(value, below), bits + group * 8 + i / 8);
    }
  }
}

#endif  // HWY_TARGET

void ApplyDropoutMask(const std::uint8_t* bits, float factor, const float* from, std::int64_t n,
                      float* to) {
  const FloatTag d;
  const auto width = static_cast<std::int64_t>(hn::Lanes(d));
  const auto scale = hn::Set(d, factor);
  std::int64_t i = 0;
  if (width >= 8) {  // else a vector is less than a byte of bits
    // LoadMaskBits may read eight bytes, which a last vector need not have.
    HWY_ALIGN std::uint8_t few[8] = {};
    for (; i + width <= n; i += width) {
      std::copy_n(bits + i / 8, width / 8, few);
      const auto keep = hn::LoadMaskBits(d, few);
      hn::StoreU(hn::IfThenElseZero(keep, hn::Mul(hn::LoadU(d, from + i), scale)), d, to + i);
    }
  }
  for (; i < n; ++i) {
    to[i] = ((bits[i / 8] >> (i % 8)) & 1U) != 0 ? from[i] * factor : 0.0F;
  }
}

}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::cpu {

HWY_EXPORT(MakeDropoutMask);
HWY_EXPORT(ApplyDropoutMask);

void make_dropout_mask(const RandomStream& stream, float p, std::int64_t first, std::int64_t count,
                       std::uint8_t* bits) {
  HWY_DYNAMIC_DISPATCH(MakeDropoutMask)(stream, p, first, count, bits);
}

void apply_dropout_mask(const std::uint8_t* bits, float factor, const float* from, std::int64_t n,
                        float* to) {
  HWY_DYNAMIC_DISPATCH(ApplyDropoutMask)(bits, factor, from, n, to);
}

}  // namespace rondo::cpu
#endif
