// scale_add_bias: c = factor * c + bias. Reads and writes each element of c once; threads along a
// block's x take neighbouring columns, its y strides over the rows. Off the beaten path: cuBLASLt
// adds most biases itself (cuda_kernels/gemm.cpp).
//
// column_sums: sums[j] = sum over i of x[i][j]. Reads x once. A block of 32 x 8 threads takes 32
// columns, so that a warp reads neighbours, and a chunk of rows: thread (j, y) adds rows y, y + 8,
// ... of the chunk, the 8 sums of a column are added in order. There are at most 256 chunks, which
// fill a GPU even for few columns; where there are several, their sums are rows of scratch, and the
// same kernel adds those in one more launch.
#include "cuda_kernels/linear.h"

#include <algorithm>

#include "core/cuda_launch.cuh"
#include "core/element.h"

namespace rondo::cuda {
namespace {

constexpr int kColumns = 32;  // of a block's threads
constexpr int kRows = 8;
constexpr unsigned kMaxGridY = 65535;

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

template <typename T>
__global__ void scale_add_bias_kernel(ScaleAddBias<T> m) {
  using C = ComputeType<T>;
  const std::int64_t column = first_item();
  if (column >= m.columns) {
    return;
  }
  const C factor = static_cast<C>(m.factor);
  const C bias = m.bias == nullptr ? C(0) : to_compute(m.bias[column]);
  for (std::int64_t matrix = blockIdx.z; matrix < m.batch; matrix += gridDim.z) {
    for (std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * kRows + threadIdx.y;
         row < m.rows; row += static_cast<std::int64_t>(gridDim.y) * kRows) {
      T& c = m.c[matrix * m.stride + row * m.ld + column];
      c = convert_element<T>((factor == C(0) ? C(0) : factor * to_compute(c)) + bias);
    }
  }
}

template <typename T>
__global__ void column_sums_kernel(const T* x, std::int64_t rows, std::int64_t columns,
                                   std::int64_t chunk_rows, ComputeType<T>* sums) {
  using C = ComputeType<T>;
  __shared__ C partial[kRows][kColumns];
  const std::int64_t column = first_item();
  const std::int64_t begin = blockIdx.y * chunk_rows;
  const std::int64_t end = begin + chunk_rows < rows ? begin + chunk_rows : rows;
  C sum = C(0);
  if (column < columns) {
#pragma unroll 4
    for (std::int64_t row = begin + threadIdx.y; row < end; row += kRows) {
      sum += to_compute(x[row * columns + column]);
    }
  }
  partial[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0 && column < columns) {
    for (int y = 1; y < kRows; ++y) {
      sum += partial[y][threadIdx.x];
    }
    sums[blockIdx.y * columns + column] = sum;
  }
}

// Rows are summed in chunks of 256, or of more where that gave over 256 chunks.
std::int64_t rows_of_chunk(std::int64_t rows) {
  return std::max<std::int64_t>(256, divide_up(rows, 256));
}

std::int64_t chunks_of(std::int64_t rows) {
  return std::max<std::int64_t>(1, divide_up(rows, rows_of_chunk(rows)));
}

Grid grid_of(std::int64_t columns, std::int64_t rows, std::int64_t batch = 1) {
  return {dim3(static_cast<unsigned>(divide_up(columns, kColumns)),
               static_cast<unsigned>(std::min<std::int64_t>(rows, kMaxGridY)),
               static_cast<unsigned>(std::min<std::int64_t>(batch, kMaxGridY))),
          dim3(kColumns, kRows)};
}

}  // namespace

template <typename T>
void scale_add_bias(const ScaleAddBias<T>& matrices, Stream stream) {
  if (matrices.batch == 0 || matrices.rows == 0 || matrices.columns == 0) {
    return;
  }
  launch("scale_add_bias", scale_add_bias_kernel<T>,
         grid_of(matrices.columns, divide_up(matrices.rows, kRows), matrices.batch), stream,
         matrices);
}

template <typename T>
void column_sums(const T* x, std::int64_t rows, std::int64_t columns, ComputeType<T>* scratch,
                 ComputeType<T>* sums, Stream stream) {
  if (columns == 0) {
    return;
  }
  const std::int64_t chunks = chunks_of(rows);
  launch("column_sums", column_sums_kernel<T>, grid_of(columns, chunks), stream, x, rows, columns,
         rows_of_chunk(rows), chunks == 1 ? sums : scratch);
  if (chunks > 1) {
    launch("column_sums", column_sums_kernel<ComputeType<T>>, grid_of(columns, 1), stream, scratch,
           chunks, columns, chunks, sums);
  }
}

std::int64_t column_sums_scratch(std::int64_t rows, std::int64_t columns) {
  const std::int64_t chunks = chunks_of(rows);
  return chunks == 1 ? 0 : chunks * columns;
}

template void scale_add_bias(const ScaleAddBias<float>&, Stream);
template void scale_add_bias(const ScaleAddBias<double>&, Stream);
template void scale_add_bias(const ScaleAddBias<bfloat16>&, Stream);
template void scale_add_bias(const ScaleAddBias<float16>&, Stream);

template void column_sums(const float*, std::int64_t, std::int64_t, float*, float*, Stream);
template void column_sums(const double*, std::int64_t, std::int64_t, double*, double*, Stream);
template void column_sums(const bfloat16*, std::int64_t, std::int64_t, float*, float*, Stream);
template void column_sums(const float16*, std::int64_t, std::int64_t, float*, float*, Stream);

}  // namespace rondo::cuda
