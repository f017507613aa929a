// The memory of the emulated devices. With the address sanitizer, the CPU may not touch it: it is
// poisoned except while a kernel or a copy runs.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <mutex>
#include <span>
#include <vector>

namespace cuda_emulation {

// Guards everything of the devices: what uses them comes in turn.
std::mutex& device_mutex();

// Null when device `device` has too little left. Aligned to 256 bytes, not more; all bytes are
// 0xFF, so that numbers nobody wrote are NaN.
void* allocate(int device, std::size_t bytes);
// False if no block begins there.
bool release(void* block);

// An allocator on top, which keeps blocks and hands them out again, says how many bytes of a block
// are in use: 0 for none. Kernels and copies may touch only those; until it says so, all. Fills
// them with 0xFF anew.
void set_used(const void* block, std::size_t bytes);

std::size_t total_bytes();
std::size_t free_bytes(int device);

// Whether all of the bytes lie in one block, or any of them in some block.
bool on_device(const void* first, std::size_t bytes);
bool touches_device(const void* first, std::size_t bytes);

// A pointer to the CPU's heap or stack, or to a released block, that the bytes hold where a pointer
// may be; null if there is none. Only the address sanitizer can tell: without it, always null.
const void* find_host_pointer(std::span<const std::byte> bytes);

// While it lives, kernels and copies can reach the memory of a device, or the blocks that some
// pointers point into.
class DeviceAccess {
 public:
  explicit DeviceAccess(int device);
  explicit DeviceAccess(std::initializer_list<const void*> pointers);
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;

 private:
  std::vector<std::span<const std::byte>> blocks_;
};

}  // namespace cuda_emulation
