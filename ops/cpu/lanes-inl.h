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

HWY_INLINE Lanes sigmoid(Lanes x) {
  const FloatTag d;
  const auto unit = hn::Set(d, 1.0F);
  const auto e = hn::Exp(d, hn::Min(hn::Neg(x.v), hn::Set(d, 88.0F)));
  return keep_nan(x, hn::Div(unit, hn::Add(unit, e)));
}

HWY_INLINE Lanes tanh(Lanes x) { return keep_nan(x, hn::Tanh(FloatTag(), x.v)); }

}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // toggle
