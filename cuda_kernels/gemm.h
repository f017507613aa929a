// Matrix products on a GPU, by cuBLASLt. Row-major, as everything in Rondo.
#pragma once

#include <cstdint>
#include <string>

#include "core/cuda.h"
#include "core/dtype.h"

namespace rondo::cuda {

enum class Transpose : bool { no, yes };

// C = alpha * op(A) op(B) + beta * C + bias for each of `batch` triples; op(A) is m x k, op(B)
// k x n, C m x n. lda, ldb and ldc are the distances between rows as stored, the strides those
// between matrices of the batch, all counted in elements. C overlaps neither A, B nor bias. With
// beta = 0, C is only written; with k = 0, A and B are not read.
struct Gemm {
  Transpose transpose_a = Transpose::no;
  Transpose transpose_b = Transpose::no;
  std::int64_t m = 0, n = 0, k = 0;
  double alpha = 1.0;
  double beta = 0.0;
  // A and B have one type: f32, f64, bf16 or f16. C has the same, or is f32 where they are bf16 or
  // f16. Sums are f32 (f64 for f64).
  DType operands = DType::f32;
  DType result = DType::f32;
  bool tf32 = false;  // f32 operands may be rounded to TF32, for speed
  const void* a = nullptr;
  std::int64_t lda = 0;
  const void* b = nullptr;
  std::int64_t ldb = 0;
  void* c = nullptr;
  std::int64_t ldc = 0;
  const void* bias = nullptr;  // (n), of C's type, added to every row; may be null
  std::int64_t batch = 1;
  std::int64_t stride_a = 0, stride_b = 0, stride_c = 0;
};

// Works on the current device (cuda::stream makes it that), whose products all go to one stream.
// The same product of the same inputs, equally aligned, gives the same bits on the same device. The
// first product of a kind chooses its algorithm and may allocate; later ones only launch, so that
// they can be captured into a graph. Throws Error naming the sizes when cuBLASLt has no algorithm
// for them, or saying what to install when there is no cuBLASLt.
void gemm(const Gemm& product, Stream stream);

// "cuBLASLt 13.1.0": the library that is loaded.
std::string gemm_backend();

}  // namespace rondo::cuda
