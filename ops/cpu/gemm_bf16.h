// Matrix products of operands rounded to bf16, with sums in f32.
#pragma once

#include "core/half.h"
#include "ops/cpu/gemm.h"

namespace rondo::cpu {

// As gemm() of floats, but every element of alpha * A and of B is rounded to bf16 first. `beta` is
// 0 or 1. Uses the processor's bf16 products where they are faster than f32 ones, else f32 products
// of the rounded operands, which give the same but for the order of sums.
void gemm_bf16(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n,
               std::int64_t k, float alpha, const float* a, std::int64_t lda, const float* b,
               std::int64_t ldb, float beta, float* c, std::int64_t ldc);

// Whether this processor has bf16 products that are faster than f32 ones. Intel's with
// AMX and AMD's are taken to have; one of Intel's with AVX512_FP16 and AMX hidden (a virtual
// machine) was measured to run them at half the f32 rate (docs/benchmarks.md).
bool bf16_products_are_fast();
// Whether it has any that the build can use.
bool has_bf16_products();

// Both ways, for tests and benchmarks. The native one needs has_bf16_products().
void gemm_bf16_native(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n,
                      std::int64_t k, float alpha, const float* a, std::int64_t lda, const float* b,
                      std::int64_t ldb, float beta, float* c, std::int64_t ldc);
void gemm_bf16_rounded(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n,
                       std::int64_t k, float alpha, const float* a, std::int64_t lda,
                       const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc);

// to = factor * from, rounded to the nearest bf16 (ties to even); NaN stays NaN.
void round_to_bf16(const float* from, float factor, std::int64_t n, bfloat16* to);
void round_to_bf16(const float* from, float factor, std::int64_t n, float* to);

}  // namespace rondo::cpu
