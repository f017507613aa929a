#include "ops/cpu/softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/softmax_simd.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::cpu::HWY_NAMESPACE {

// Three passes over a row that stays in the first-level cache: largest, exponentials and their sum,
// scaling. The rest that does not fill a vector goes through a buffer filled with -infinity, which
// adds nothing to the sum.
float SoftmaxInPlace(float* x, std::int64_t n) {
  const FloatTag d;
  constexpr float kNothing = -std::numeric_limits<float>::infinity();
  const auto width = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t whole = n - n % width;
  const auto rest = static_cast<std::size_t>(n - whole);
  HWY_ALIGN float tail[hn::MaxLanes(d)];
  std::fill_n(tail, width, kNothing);
  std::copy_n(x + whole, rest, tail);

  auto highest = hn::Load(d, tail);
  for (std::int64_t i = 0; i < whole; i += width) {
    highest = hn::Max(highest, hn::LoadU(d, x + i));
  }
  const float largest = hn::GetLane(hn::MaxOfLanes(d, highest));
  if (largest == kNothing) {
    softmax_of_nothing(x, n);
    return kNothing;
  }
  const Lanes shift = Lanes::set(largest);
  const auto exponential = [shift](const float* p) HWY_ATTR { return exp(Lanes::load(p) - shift); };
  Lanes sums = exponential(tail);
  sums.store(tail);
  for (std::int64_t i = 0; i < whole; i += width) {
    const Lanes e = exponential(x + i);
    e.store(x + i);
    sums = sums + e;
  }
  const float sum = hn::GetLane(hn::SumOfLanes(d, sums.v));
  const Lanes factor = Lanes::set(1.0F / sum);
  for (std::int64_t i = 0; i < whole; i += width) {
    (Lanes::load(x + i) * factor).store(x + i);
  }
  (Lanes::load(tail) * factor).store(tail);
  std::copy_n(tail, rest, x + whole);
  return largest + std::log(sum);
}

void SoftmaxGradientInPlace(const float* p, float* g, std::int64_t n) {
  const FloatTag d;
  const auto width = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t whole = n - n % width;
  auto sums = hn::Zero(d);
  for (std::int64_t i = 0; i < whole; i += width) {
    sums = hn::MulAdd(hn::LoadU(d, p + i), hn::LoadU(d, g + i), sums);
  }
  float dot = hn::GetLane(hn::SumOfLanes(d, sums));
  for (std::int64_t i = whole; i < n; ++i) {
    dot += p[i] * g[i];
  }
  const auto shift = hn::Set(d, dot);
  for (std::int64_t i = 0; i < whole; i += width) {
    hn::StoreU(hn::Mul(hn::LoadU(d, p + i), hn::Sub(hn::LoadU(d, g + i), shift)), d, g + i);
  }
  for (std::int64_t i = whole; i < n; ++i) {
    g[i] = p[i] * (g[i] - dot);
  }
}

}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::cpu {

HWY_EXPORT(SoftmaxInPlace);
HWY_EXPORT(SoftmaxGradientInPlace);

float softmax_in_place(float* x, std::int64_t n) {
  return HWY_DYNAMIC_DISPATCH(SoftmaxInPlace)(x, n);
}

void softmax_gradient_in_place(const float* p, float* g, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(SoftmaxGradientInPlace)(p, g, n);
}

}  // namespace rondo::cpu
#endif
