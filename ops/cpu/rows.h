// Products of a matrix with few vectors, vectorised. They read the matrix once, and are as fast as
// it can be read.
#pragma once

#include <cstdint>

namespace rondo::cpu {

// y[s * y_stride + r] = sum over i of x[s * columns + i] * w[r * columns + i], for `rows` rows r of
// w and `streams` vectors s. Every sum runs in the same order, whatever the number of rows and
// streams of the call, so its bits depend on its row and its vector alone. On the calling thread.
void rows_dot(const float* w, std::int64_t rows, std::int64_t columns, const float* x,
              std::int64_t streams, float* y, std::int64_t y_stride);

// out[i] = sum over r of weights[r] * w[r * columns + i], in the order of the rows. On the calling
// thread.
void weighted_rows(const float* w, std::int64_t rows, std::int64_t columns, const float* weights,
                   float* out);

// The plain loops: the specification.
void rows_dot_plain(const float* w, std::int64_t rows, std::int64_t columns, const float* x,
                    std::int64_t streams, float* y, std::int64_t y_stride);
void weighted_rows_plain(const float* w, std::int64_t rows, std::int64_t columns,
                         const float* weights, float* out);

}  // namespace rondo::cpu
