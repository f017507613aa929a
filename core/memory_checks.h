// What builds for tests do to the allocator's blocks, so that mistakes with them show. Nothing in
// other builds.
//
// Under the address sanitizer, what lies behind a block's bytes and what has been released may not
// be touched. There, and for emulated GPU memory, blocks are handed out full of NaN: a result that
// nobody wrote cannot pass for one.
#pragma once

#include <cstddef>
#include <cstring>

#include "core/device.h"
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#ifdef RONDO_CUDA_EMULATION
namespace cuda_emulation {
// How many bytes of a block kernels may touch; they become NaN (tests/cuda_emulation).
void set_used(const void* block, std::size_t bytes);
}  // namespace cuda_emulation
#endif

namespace rondo {

#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kAddressSanitizer = true;
#else
inline constexpr bool kAddressSanitizer = false;
#endif

inline void set_touchable([[maybe_unused]] const void* begin, [[maybe_unused]] std::size_t bytes,
                          [[maybe_unused]] bool touchable) {
#ifdef __SANITIZE_ADDRESS__
  touchable ? __asan_unpoison_memory_region(begin, bytes)
            : __asan_poison_memory_region(begin, bytes);
#endif
}

// What the emulated GPU is told about its blocks; its memory is otherwise for kernels alone.
inline void set_used_on_gpu([[maybe_unused]] const void* block,
                            [[maybe_unused]] std::size_t bytes) {
#ifdef RONDO_CUDA_EMULATION
  cuda_emulation::set_used(block, bytes);
#endif
}

// A block of `size` bytes is given to somebody who asked for `bytes`.
inline void mark_handed_out(Device device, void* block, std::size_t bytes, std::size_t size) {
  constexpr int kNan = 0xff;  // in every floating-point type
  if (device.is_cuda()) {
    set_used_on_gpu(block, bytes);
  } else if (device.is_cpu() && kAddressSanitizer) {
    set_touchable(block, size, true);
    std::memset(block, kNan, bytes);
    set_touchable(static_cast<std::byte*>(block) + bytes, size - bytes, false);
  }
}

// It has come back, and may be handed out again.
inline void mark_released(Device device, void* block, std::size_t size) {
  if (device.is_cuda()) {
    set_used_on_gpu(block, 0);
  } else if (device.is_cpu()) {
    set_touchable(block, size, false);
  }
}

// It goes back to the system.
inline void mark_returned(Device device, void* block, std::size_t size) {
  if (device.is_cpu()) {
    set_touchable(block, size, true);
  }
}

}  // namespace rondo
