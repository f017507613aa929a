// Matrix products on the CPU, behind one interface: oneDNN for f32 where the build found it, Eigen
// otherwise and for f64.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/precision.h"

namespace rondo::cpu {

enum class Transpose : bool { no, yes };

// C = alpha * op(A) op(B) + beta * C, row-major; op(A) is m x k, op(B) k x n, C m x n. lda, ldb and
// ldc are the distances between rows as stored. With beta = 0, C is only written. In bf16, for
// floats alone, beta must be 0 or 1 (ops/cpu/gemm_bf16.h).
// Uses all threads, or one when called inside parallel_for.
void gemm(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n,
          std::int64_t k, float alpha, const float* a, std::int64_t lda, const float* b,
          std::int64_t ldb, float beta, float* c, std::int64_t ldc,
          Precision precision = Precision::f32);
void gemm(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n,
          std::int64_t k, double alpha, const double* a, std::int64_t lda, const double* b,
          std::int64_t ldb, double beta, double* c, std::int64_t ldc,
          Precision precision = Precision::f32);

// "oneDNN 2.6.3" or "Eigen 3.4.0": what computes f32 products in this build.
std::string_view gemm_backend();

}  // namespace rondo::cpu
