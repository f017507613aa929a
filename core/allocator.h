// Memory for tensors: one caching allocator per device, with statistics.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/device.h"

namespace rondo {

struct MemoryStats {
  std::size_t in_use_bytes = 0;    // handed out now
  std::size_t peak_bytes = 0;      // the most ever handed out since the last reset_peak
  std::size_t reserved_bytes = 0;  // held from the system: in use and cached
  // Blocks ever taken from the system: stands still once every size asked for is cached.
  std::size_t system_allocations = 0;
  std::size_t requests = 0;  // blocks ever handed out
};

// Keeps released blocks by size and hands them out again, so that a training step, whose sizes
// repeat, finds most of its blocks here. Blocks are 64-byte aligned, and on the CPU large
// ones ask for huge pages. Thread-safe.
//
// With RONDO_CUDA_NO_CACHE in the environment the blocks of GPUs are kept no longer than they are
// used, and are not rounded up: compute-sanitizer knows nothing of blocks inside of blocks.
class CachingAllocator {
 public:
  explicit CachingAllocator(Device device) : device_(device) {}
  virtual ~CachingAllocator() = default;
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  // At least `bytes` bytes, not initialised. Throws OutOfMemory naming the amounts when it is
  // short.
  void* allocate(std::size_t bytes);
  // Takes back a block from allocate(bytes) with the same `bytes`.
  void release(void* block, std::size_t bytes);

  // Returns every cached block to the system.
  void trim();
  MemoryStats stats() const;
  void reset_peak();

  // The size that a request of `bytes` really takes: a step of at most an eighth, so that nearly
  // equal requests share blocks.
  static std::size_t rounded(std::size_t bytes);

 protected:
  // One block from, or back to, the system; nullptr when there is none.
  virtual void* system_allocate(std::size_t bytes) = 0;
  virtual void system_release(void* block) = 0;
  // Whether released blocks are kept.
  virtual bool keeps_blocks() const { return true; }
  // ", and N bytes are free" or nothing: what the system says, for the message when it is short.
  virtual std::string free_memory() const { return {}; }

 private:
  std::size_t size_of_block(std::size_t bytes) const;
  // trim, with the mutex held.
  void release_cached();

  Device device_;
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> cached_;
  MemoryStats stats_;
};

// The allocator of `device`, which must be available. Lives as long as the process.
CachingAllocator& allocator(Device device);

}  // namespace rondo
