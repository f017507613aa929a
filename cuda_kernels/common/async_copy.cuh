// Copies from global into shared memory that their thread does not wait for (cp.async): they need
// no registers, and any number can be on the way. The host compiler sees plain copies, which have
// happened at once.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/cuda_launch.cuh"

namespace rondo::cuda {

// Starts the copy of `bytes` bytes, to which both addresses are aligned. 4, 8 or 16; fewer are
// copied on the spot.
template <int bytes>
__device__ inline void copy_async(void* shared, const void* global) {
#ifdef __CUDA_ARCH__
  if constexpr (bytes == 4 || bytes == 8 || bytes == 16) {
    const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
    if constexpr (bytes == 16) {  // past the first cache
      asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(global)
                   : "memory");
    } else {
      asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(global), "n"(bytes)
                   : "memory");
    }
    return;
  }
#endif
  std::memcpy(__builtin_assume_aligned(shared, bytes), __builtin_assume_aligned(global, bytes),
              bytes);
}

// What this thread has started since the last call is a group, be it empty.
__device__ inline void commit_copies() {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for all groups of this thread but the newest `pending` ones. Other threads see what was
// copied after the next barrier they share.
template <int pending>
__device__ inline void wait_for_copies() {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

}  // namespace rondo::cuda
