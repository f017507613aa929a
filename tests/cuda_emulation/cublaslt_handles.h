// What the handles of the emulated cuBLASLt point to.
#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <cstdint>

struct cublasLtContext {
  int device;
};

struct cublasLtMatrixLayoutOpaque_t {
  std::uint32_t type;
  std::uint64_t rows;
  std::uint64_t columns;
  std::int64_t ld;
  std::int32_t order = CUBLASLT_ORDER_COL;
  std::int32_t batch = 1;
  std::int64_t stride = 0;

  bool operator==(const cublasLtMatrixLayoutOpaque_t&) const = default;

  // From the first element to the last of the batch.
  std::size_t elements() const {
    return static_cast<std::size_t>((batch - 1) * stride) +
           (columns - 1) * static_cast<std::size_t>(ld) + rows;
  }
};

struct cublasLtMatmulDescOpaque_t {
  std::int32_t compute;
  std::int32_t scale;
  std::int32_t pointer_mode = CUBLASLT_POINTER_MODE_HOST;
  std::int32_t transpose_a = CUBLAS_OP_N;
  std::int32_t transpose_b = CUBLAS_OP_N;
  std::int32_t transpose_c = CUBLAS_OP_N;
  std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  std::int32_t bias_type = -1;  // the type of D
  const void* bias = nullptr;
};

struct cublasLtMatmulPreferenceOpaque_t {
  std::uint64_t workspace_bytes = 0;
  std::uint32_t search_mode = 0;
  std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  std::uint32_t alignment_a = 256;
  std::uint32_t alignment_b = 256;
  std::uint32_t alignment_c = 256;
  std::uint32_t alignment_d = 256;
};
