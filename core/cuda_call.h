// Checked calls of the CUDA runtime. Only for sources that are left out of builds without CUDA.
#pragma once

#include <cuda_runtime.h>

#include <string_view>

#include "core/cuda.h"

namespace rondo::cuda {

inline cudaStream_t native(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }

// Throws Error naming the operation and what CUDA reports. (Defined in core/cuda.cpp: nvcc does not
// take the message library.)
[[noreturn]] void fail_call(std::string_view op, cudaError_t status);

// fail_call when a call of the CUDA runtime failed.
inline void check_call(std::string_view op, cudaError_t status) {
  if (status != cudaSuccess) [[unlikely]] {
    fail_call(op, status);
  }
}

}  // namespace rondo::cuda
