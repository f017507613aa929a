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

// Each sum is one vector of running sums, then the sum of its lanes.
template <int kRows, int kStreams>
HWY_INLINE void DotTile(const float* HWY_RESTRICT w, std::int64_t columns,
                        const float* HWY_RESTRICT x, float* HWY_RESTRICT y, std::int64_t y_stride) {
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
  for (int r = 0; r < kRows; ++r) {
    for (int s = 0; s < kStreams; ++s) {
      y[s * y_stride + r] = hn::GetLane(hn::SumOfLanes(d, sums[r][s]));
    }
  }
}

// All vectors with kRows rows.
template <int kRows>
HWY_INLINE void DotRows(const float* w, std::int64_t columns, const float* x, std::int64_t streams,
                        float* y, std::int64_t y_stride) {
  std::int64_t s = 0;
  for (; s + 4 <= streams; s += 4) {
    DotTile<kRows, 4>(w, columns, x + s * columns, y + s * y_stride, y_stride);
  }
  for (; s + 2 <= streams; s += 2) {
    DotTile<kRows, 2>(w, columns, x + s * columns, y + s * y_stride, y_stride);
  }
  for (; s < streams; ++s) {
    DotTile<kRows, 1>(w, columns, x + s * columns, y + s * y_stride, y_stride);
  }
}

void RowsDot(const float* w, std::int64_t rows, std::int64_t columns, const float* x,
             std::int64_t streams, float* y, std::int64_t y_stride) {
  std::int64_t r = 0;
  if (streams == 1) {
    for (; r + 8 <= rows; r += 8) {
      DotTile<8, 1>(w + r * columns, columns, x, y + r, y_stride);
    }
  }
  for (; r + 4 <= rows; r += 4) {
    DotRows<4>(w + r * columns, columns, x, streams, y + r, y_stride);
  }
  for (; r < rows; ++r) {
    DotRows<1>(w + r * columns, columns, x, streams, y + r, y_stride);
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
