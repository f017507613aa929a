// What every .cu source needs: checked launches, the block's dynamic shared memory, items of a
// grid. Also compiled by the host compiler, against the emulation (tests/cuda_emulation).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>

#include "core/cuda_call.h"

namespace rondo::cuda {

// How a kernel is spread over the device.
struct Grid {
  dim3 blocks;
  dim3 threads;
  std::size_t shared_bytes = 0;  // dynamic shared memory of a block
};

// Blocks of `threads` so that there is a thread for each of `count` items; at least one block.
inline Grid grid_over(std::int64_t count, int threads = 256) {
  const std::int64_t blocks = std::max<std::int64_t>(1, (count + threads - 1) / threads);
  return {dim3(static_cast<unsigned>(blocks)), dim3(static_cast<unsigned>(threads))};
}

// Starts a kernel, and throws Error naming the operation if it could not start. Errors while it
// runs show at the next synchronisation.
template <typename... Parameters, typename... Arguments>
void launch(std::string_view op, void (*kernel)(Parameters...), const Grid& grid, Stream stream,
            Arguments&&... arguments) {
  constexpr std::size_t kAlways = 48 << 10;  // more must be asked for
  if (grid.shared_bytes > kAlways) {
    check_call(op, cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                        cudaFuncAttributeMaxDynamicSharedMemorySize,
                                        static_cast<int>(grid.shared_bytes)));
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = native(stream);
  // Kernels with much shared memory are laid out for as many blocks as all of it holds.
  cudaLaunchAttribute carveout = {};
  carveout.id = cudaLaunchAttributePreferredSharedMemoryCarveout;
  carveout.val.sharedMemCarveout = cudaSharedmemCarveoutMaxShared;
  config.attrs = &carveout;
  config.numAttrs = grid.shared_bytes > 0 ? 1 : 0;
  check_call(op, cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

// The dynamic shared memory of this block, aligned to 16 bytes.
template <typename T>
__device__ T* dynamic_shared() {
#ifdef __CUDACC__
  extern __shared__ __align__(16) unsigned char rondo_dynamic_shared[];
  return reinterpret_cast<T*>(rondo_dynamic_shared);
#else
  return static_cast<T*>(cuda_emulation::dynamic_shared());
#endif
}

// The items that this thread takes when a grid strides over `count` of them:
// for (std::int64_t i = first_item(); i < count; i += item_stride()) ...
__device__ inline std::int64_t first_item() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline std::int64_t item_stride() {
  return static_cast<std::int64_t>(gridDim.x) * blockDim.x;
}

}  // namespace rondo::cuda
