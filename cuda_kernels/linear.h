// What a product with a weight matrix needs beside the product: its bias and the bias's gradient.
#pragma once

#include <cstdint>

#include "core/cuda.h"
#include "core/half.h"

namespace rondo::cuda {

// c = factor * c + bias for each of `batch` matrices.
template <typename T>
struct ScaleAddBias {
  double factor = 1.0;      // with 0, c is only written
  const T* bias = nullptr;  // (columns), may be null
  T* c = nullptr;           // (batch, rows, columns), `ld` elements from row to row
  std::int64_t batch = 1, rows = 0, columns = 0;
  std::int64_t ld = 0, stride = 0;  // stride: elements from matrix to matrix
};

// float, double, bfloat16 or float16; half types are computed in float and rounded once.
template <typename T>
void scale_add_bias(const ScaleAddBias<T>& matrices, Stream stream);

// sums[column] = the sum of column over all rows of x (rows, columns), 0 without rows; added up in
// an order that depends on the sizes alone. scratch has column_sums_scratch(rows, columns) elements
// and overlaps nothing. x is float, double, bfloat16 or float16.
template <typename T>
void column_sums(const T* x, std::int64_t rows, std::int64_t columns, ComputeType<T>* scratch,
                 ComputeType<T>* sums, Stream stream);
std::int64_t column_sums_scratch(std::int64_t rows, std::int64_t columns);

}  // namespace rondo::cuda
