// A vector of floats that reads like a float, so that formulas of core/scalar serve both. Included
// once per instruction set by the *_simd.cpp files (Highway's foreach_target), hence no #pragma
// once but Highway's toggle.
#if defined(RONDO_OPS_CPU_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RONDO_OPS_CPU_LANES_INL_H_
#undef RONDO_OPS_CPU_LANES_INL_H_
#else
#define RONDO_OPS_CPU_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "core/scalar/activation.h"
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;

struct Lanes {
  hn::Vec<FloatTag> v;

  static HWY_INLINE Lanes load(const float* p) { return {hn::LoadU(FloatTag(), p)}; }
  static HWY_INLINE Lanes set(float x) { return {hn::Set(FloatTag(), x)}; }
  HWY_INLINE void store(float* p) const { hn::StoreU(v, FloatTag(), p); }

  friend HWY_INLINE Lanes operator+(Lanes a, Lanes b) { return {hn::Add(a.v, b.v)}; }
  friend HWY_INLINE Lanes operator-(Lanes a, Lanes b) { return {hn::Sub(a.v, b.v)}; }
  friend HWY_INLINE Lanes operator*(Lanes a, Lanes b) { return {hn::Mul(a.v, b.v)}; }
  friend HWY_INLINE Lanes operator/(Lanes a, Lanes b) { return {hn::Div(a.v, b.v)}; }
};

HWY_INLINE Lanes one(Lanes) { return Lanes::set(1.0F); }

// NaN in, NaN out: Highway's exponential alone would turn it into a number.
HWY_INLINE Lanes keep_nan(Lanes x, hn::Vec<FloatTag> y) {
  return {hn::IfThenElse(hn::IsNaN(x.v), x.v, y)};
}

HWY_INLINE Lanes exp(Lanes x) {
  const FloatTag d;
  // Beyond these the result is 0 or infinity; the polynomial is only good between them.
  const auto clamped = hn::Min(x.v, hn::Set(d, 89.0F));
  return keep_nan(x, hn::Exp(d, clamped));
}

// e^-x for x in +-43, beyond which x counts as +-43; NaN stays NaN. About 1 ULP off.
HWY_INLINE hn::Vec<FloatTag> exp_negated(hn::Vec<FloatTag> x) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> signed_d;
  // x stands second in both: for NaN, x86 returns the second.
  const auto limited = hn::Max(hn::Set(d, -43.0F), hn::Min(hn::Set(d, 43.0F), x));
  // e^-x = 2^n 2^f, n the whole number nearest to -x / ln 2. Adding 1.5 * 2^23 rounds to it, and
  // leaves it in the lowest bits.
  const auto rounder = hn::Set(d, 0x1.8p23F);
  const auto shifted = hn::MulAdd(limited, hn::Set(d, -1.44269502F), rounder);
  const auto n = hn::Sub(shifted, rounder);
  // 1 / ln 2 in two parts: f is as exact as x.
  auto f = hn::MulSub(limited, hn::Set(d, -1.44269502F), n);
  f = hn::MulAdd(limited, hn::Set(d, -1.92596303e-8F), f);
  // The polynomial of degree 6 nearest to 2^f on +-1/2: 2e-9 off.
  auto y = hn::Set(d, 1.546144470e-4F);
  y = hn::MulAdd(y, f, hn::Set(d, 1.340042818e-3F));
  y = hn::MulAdd(y, f, hn::Set(d, 9.618056679e-3F));
  y = hn::MulAdd(y, f, hn::Set(d, 5.550327227e-2F));
  y = hn::MulAdd(y, f, hn::Set(d, 2.402265092e-1F));
  y = hn::MulAdd(y, f, hn::Set(d, 6.931472067e-1F));
  y = hn::MulAdd(y, f, hn::Set(d, 1.0F));
  // Times 2^n: n is added to the exponent.
  return hn::BitCast(
      d, hn::Add(hn::BitCast(signed_d, y), hn::ShiftLeft<23>(hn::BitCast(signed_d, shifted))));
}

// Both with one division: 1 / a = b (1 / ab). A sigmoid below e^-43 becomes e^-43, so that ab does
// not overflow.
HWY_INLINE Pair<Lanes> sigmoid_pair(Lanes x, Lanes y) {
  const auto unit = hn::Set(FloatTag(), 1.0F);
  const auto a = hn::Add(unit, exp_negated(x.v));
  const auto b = hn::Add(unit, exp_negated(y.v));
  const auto inverse = hn::Div(unit, hn::Mul(a, b));
  return {{hn::Mul(b, inverse)}, {hn::Mul(a, inverse)}};
}

HWY_INLINE Lanes sigmoid(Lanes x) {
  const auto unit = hn::Set(FloatTag(), 1.0F);
  return {hn::Div(unit, hn::Add(unit, exp_negated(x.v)))};
}

HWY_INLINE Lanes sqrt(Lanes x) { return {hn::Sqrt(x.v)}; }

HWY_INLINE Lanes tanh(Lanes x) { return keep_nan(x, hn::Tanh(FloatTag(), x.v)); }

}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
