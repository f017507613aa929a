#include "ops/cpu/rows.h"

#include <algorithm>
#include <numeric>

namespace rondo::cpu {

void rows_dot_plain(const float* w, std::int64_t rows, std::int64_t columns, const float* x,
                    std::int64_t streams, float* y, std::int64_t y_stride) {
  for (std::int64_t s = 0; s < streams; ++s) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* row = w + r * columns;
      y[s * y_stride + r] = std::inner_product(row, row + columns, x + s * columns, 0.0F);
    }
  }
}

void weighted_rows_plain(const float* w, std::int64_t rows, std::int64_t columns,
                         const float* weights, float* out) {
  std::fill_n(out, columns, 0.0F);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < columns; ++i) {
      out[i] += weights[r] * w[r * columns + i];
    }
  }
}

}  // namespace rondo::cpu
