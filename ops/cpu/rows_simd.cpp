// The loops of ops/cpu/rows.h on vectors. Of w every element is read once, 4 bytes for 2 operations
// per vector, so few vectors wait for memory: a tile of rows keeps enough sums under way to hide
// the latency of an addition, and several vectors share the loads of w.
#include "ops/cpu/rows.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/rows_simd.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::cpu::HWY_NAMESPACE {

// The first `count` elements, then zeros.
HWY_INLINE hn::Vec<FloatTag> LoadFirst(const float* p, std::size_t count) {
  const FloatTag d;
  HWY_ALIGN float buffer[hn::MaxLanes(d)] = {};
  std::copy_n(p, count, buffer);
  return hn::Load(d, buffer);
}

// Stores the sums of the lanes of four vectors. Within blocks of four lanes they are transposed and
// added, which takes half the shuffles that one sum after the other would; then block by block.
HWY_INLINE void StoreSums(hn::Vec<FloatTag> a, hn::Vec<FloatTag> b, hn::Vec<FloatTag> c,
                          hn::Vec<FloatTag> e, std::size_t count, float* HWY_RESTRICT to) {
#if HWY_TARGET == HWY_SCALAR
  const float sums[] = {a.raw, b.raw, c.raw, e.raw};
  std::copy_n(sums, count, to);
#else
  const FloatTag d;
  const hn::RepartitionToWide<FloatTag> pairs;
  const hn::Full128<float> block;
  const auto add_halves = [&](hn::Vec<FloatTag> x, hn::Vec<FloatTag> y) HWY_ATTR {
    return hn::Add(hn::InterleaveLower(d, x, y), hn::InterleaveUpper(d, x, y));
  };
  const auto ab = hn::BitCast(pairs, add_halves(a, b));
  const auto ce = hn::BitCast(pairs, add_halves(c, e));
  const auto all = hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, ab, ce)),
                           hn::BitCast(d, hn::InterleaveUpper(pairs, ab, ce)));
  HWY_ALIGN float buffer[hn::MaxLanes(d)];
  hn::Store(all, d, buffer);
  auto sum = hn::Load(block, buffer);
  for (std::size_t i = 4; i < hn::Lanes(d); i += 4) {
    sum = hn::Add(sum, hn::Load(block, buffer + i));
  }
  if (count == 4) {
    hn::StoreU(sum, block, to);
  } else {
    hn::Store(sum, block, buffer);
    std::copy_n(buffer, count, to);
  }
#endif
}

