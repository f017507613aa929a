// The loops of ops/cpu/rows.h on vectors. Of w every element is read once, 4 bytes for 2 operations
// per vector, so few vectors wait for memory: a tile of rows keeps enough sums under way to hide
// the latency of an addition, and several vectors share the loads of w.
#include "ops/cpu/rows.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/rows_simd.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/cache_control.h>
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

// Four times kQuads rows with kStreams vectors. With `prefetch` it fetches the next so many rows.
template <int kQuads, int kStreams, bool prefetch = false>
HWY_INLINE void DotTile(const float* HWY_RESTRICT w, std::int64_t columns,
                        const float* HWY_RESTRICT x, float* HWY_RESTRICT y, std::int64_t y_stride) {
  constexpr int kRows = 4 * kQuads;
  const FloatTag d;
  const auto width = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<FloatTag> sums[kRows][kStreams];
  for (int r = 0; r < kRows; ++r) {
    for (int s = 0; s < kStreams; ++s) {
      sums[r][s] = hn::Zero(d);
    }
  }
  std::int64_t i = 0;
  for (; i + width <= columns; i += width) {
    hn::Vec<FloatTag> in[kStreams];
    for (int s = 0; s < kStreams; ++s) {
      in[s] = hn::LoadU(d, x + s * columns + i);
    }
    for (int r = 0; r < kRows; ++r) {
      if constexpr (prefetch) {
        hwy::Prefetch(w + (kRows + r) * columns + i);
      }
      const auto row = hn::LoadU(d, w + r * columns + i);
      for (int s = 0; s < kStreams; ++s) {
        sums[r][s] = hn::MulAdd(row, in[s], sums[r][s]);
      }
    }
  }
  if (i < columns) {
    const auto rest = static_cast<std::size_t>(columns - i);
    for (int r = 0; r < kRows; ++r) {
      const auto row = LoadFirst(w + r * columns + i, rest);
      for (int s = 0; s < kStreams; ++s) {
        sums[r][s] = hn::MulAdd(row, LoadFirst(x + s * columns + i, rest), sums[r][s]);
      }
    }
  }
  for (int r = 0; r < kRows; r += 4) {
    for (int s = 0; s < kStreams; ++s) {
      StoreSums(sums[r][s], sums[r + 1][s], sums[r + 2][s], sums[r + 3][s], 4,
                y + s * y_stride + r);
    }
  }
}

// Four rows with all vectors. The last vectors find the rows in the first-level cache; meanwhile
// memory would be idle, so the next rows are fetched.
HWY_INLINE void DotFour(const float* w, std::int64_t columns, const float* x, std::int64_t streams,
                        float* y, std::int64_t y_stride) {
  std::int64_t s = 0;
  for (; s + 8 <= streams; s += 4) {
    DotTile<1, 4>(w, columns, x + s * columns, y + s * y_stride, y_stride);
  }
  if (s + 4 <= streams) {
    DotTile<1, 4, true>(w, columns, x + s * columns, y + s * y_stride, y_stride);
    s += 4;
  }
  for (; s + 2 <= streams; s += 2) {
    DotTile<1, 2>(w, columns, x + s * columns, y + s * y_stride, y_stride);
  }
  for (; s < streams; ++s) {
    DotTile<1, 1>(w, columns, x + s * columns, y + s * y_stride, y_stride);
  }
}

// One row with one vector.
HWY_INLINE void DotOne(const float* HWY_RESTRICT w, std::int64_t columns,
                       const float* HWY_RESTRICT x, float* HWY_RESTRICT y) {
  const FloatTag d;
  const auto width = static_cast<std::int64_t>(hn::Lanes(d));
  const auto zero = hn::Zero(d);
  auto sum = zero;
  std::int64_t i = 0;
  for (; i + width <= columns; i += width) {
    sum = hn::MulAdd(hn::LoadU(d, w + i), hn::LoadU(d, x + i), sum);
  }
  if (i < columns) {
    const auto rest = static_cast<std::size_t>(columns - i);
    sum = hn::MulAdd(LoadFirst(w + i, rest), LoadFirst(x + i, rest), sum);
  }
  StoreSums(sum, zero, zero, zero, 1, y);
}

void RowsDot(const float* w, std::int64_t rows, std::int64_t columns, const float* x,
             std::int64_t streams, float* y, std::int64_t y_stride) {
  std::int64_t r = 0;
  for (; streams == 1 && r + 8 <= rows; r += 8) {
    DotTile<2, 1>(w + r * columns, columns, x, y + r, y_stride);
  }
  for (; r + 4 <= rows; r += 4) {
    DotFour(w + r * columns, columns, x, streams, y + r, y_stride);
  }
  for (; r < rows; ++r) {
    for (std::int64_t s = 0; s < streams; ++s) {
      DotOne(w + r * columns, columns, x + s * columns, y + s * y_stride + r);
    }
  }
}

// Adds kRows rows to `out`, which stays in the first-level cache.
template <int kRows>
HWY_INLINE void AddRows(const float* HWY_RESTRICT w, std::int64_t columns,
                        const float* HWY_RESTRICT weights, float* HWY_RESTRICT out) {
  const FloatTag d;
  const auto width = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<FloatTag> factor[kRows];
  for (int r = 0; r < kRows; ++r) {
    factor[r] = hn::Set(d, weights[r]);
  }
  std::int64_t i = 0;
  for (; i + width <= columns; i += width) {
    auto sum = hn::LoadU(d, out + i);
    for (int r = 0; r < kRows; ++r) {
      sum = hn::MulAdd(hn::LoadU(d, w + r * columns + i), factor[r], sum);
    }
    hn::StoreU(sum, d, out + i);
  }
  for (; i < columns; ++i) {
    for (int r = 0; r < kRows; ++r) {
      out[i] += weights[r] * w[r * columns + i];
    }
  }
}

void WeightedRows(const float* w, std::int64_t rows, std::int64_t columns, const float* weights,
                  float* out) {
  std::fill_n(out, columns, 0.0F);
  std::int64_t r = 0;
  for (; r + 8 <= rows; r += 8) {
    AddRows<8>(w + r * columns, columns, weights + r, out);
  }
  for (; r < rows; ++r) {
    AddRows<1>(w + r * columns, columns, weights + r, out);
  }
}

}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::cpu {

HWY_EXPORT(RowsDot);
HWY_EXPORT(WeightedRows);

void rows_dot(const float* w, std::int64_t rows, std::int64_t columns, const float* x,
              std::int64_t streams, float* y, std::int64_t y_stride) {
  HWY_DYNAMIC_DISPATCH(RowsDot)(w, rows, columns, x, streams, y, y_stride);
}

void weighted_rows(const float* w, std::int64_t rows, std::int64_t columns, const float* weights,
                   float* out) {
  HWY_DYNAMIC_DISPATCH(WeightedRows)(w, rows, columns, weights, out);
}

}  // namespace rondo::cpu
#endif
