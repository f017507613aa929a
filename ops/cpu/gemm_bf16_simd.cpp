#include <algorithm>

#include "ops/cpu/gemm_bf16.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/gemm_bf16_simd.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::cpu::HWY_NAMESPACE {

using WordTag = hn::RebindToUnsigned<FloatTag>;

// The bits of x rounded to bf16, as a float's: bfloat16's constructor, on vectors.
HWY_INLINE hn::Vec<WordTag> rounded_bits(hn::Vec<FloatTag> x) {
  const FloatTag d;
  const WordTag words;
  const auto word = hn::BitCast(words, x);
  const auto upper = hn::Set(words, 0xffff0000U);
  const auto odd = hn::And(hn::ShiftRight<16>(word), hn::Set(words, 1U));
  const auto nearest = hn::And(hn::Add(word, hn::Add(odd, hn::Set(words, 0x7fffU))), upper);
  const auto quiet = hn::And(hn::Or(word, hn::Set(words, 0x00400000U)), upper);
  return hn::IfThenElse(hn::RebindMask(words, hn::IsNaN(hn::BitCast(d, word))), quiet, nearest);
}

// Calls store(i, bits) for every whole vector, then `one(i)` for what is left.
template <typename Store, typename One>
HWY_INLINE void round_all(const float* from, float factor, std::int64_t n, const Store& store,
                          const One& one) {
  const FloatTag d;
  const auto width = static_cast<std::int64_t>(hn::Lanes(d));
  const auto scale = hn::Set(d, factor);
  std::int64_t i = 0;
  for (; i + width <= n; i += width) {
    store(i, rounded_bits(hn::Mul(hn::LoadU(d, from + i), scale)));
  }
  for (; i < n; ++i) {
    one(i);
  }
}

void RoundToFloats(const float* from, float factor, std::int64_t n, float* to) {
  const FloatTag d;
  round_all(
      from, factor, n,
      [=](std::int64_t i, hn::Vec<WordTag> bits)
          HWY_ATTR { hn::StoreU(hn::BitCast(d, bits), d, to + i); },
      [=](std::int64_t i) { to[i] = static_cast<float>(bfloat16(from[i] * factor)); });
}

void RoundToHalves(const float* from, float factor, std::int64_t n, bfloat16* to) {
  const hn::RebindToSigned<FloatTag> signed_d;
  const hn::Rebind<std::uint16_t, FloatTag> halves;
  auto* words = reinterpret_cast<std::uint16_t*>(to);
  round_all(
      from, factor, n,
      [=](std::int64_t i, hn::Vec<WordTag> bits) HWY_ATTR {
        const auto upper = hn::BitCast(signed_d, hn::ShiftRight<16>(bits));
        hn::StoreU(hn::DemoteTo(halves, upper), halves, words + i);
      },
      [=](std::int64_t i) { to[i] = bfloat16(from[i] * factor); });
}

}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::cpu {

HWY_EXPORT(RoundToFloats);
HWY_EXPORT(RoundToHalves);

void round_to_bf16(const float* from, float factor, std::int64_t n, float* to) {
  HWY_DYNAMIC_DISPATCH(RoundToFloats)(from, factor, n, to);
}

void round_to_bf16(const float* from, float factor, std::int64_t n, bfloat16* to) {
  HWY_DYNAMIC_DISPATCH(RoundToHalves)(from, factor, n, to);
}

}  // namespace rondo::cpu
#endif
