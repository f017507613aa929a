#include "core/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <new>

#include "core/cuda.h"
#include "core/error.h"
#include "core/memory_checks.h"

namespace rondo {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHugePage = std::size_t{1} << 21;

class CpuAllocator final : public CachingAllocator {
 public:
  CpuAllocator() : CachingAllocator(Device::cpu()) {}

 protected:
  void* system_allocate(std::size_t bytes) override {
    if (bytes < kHugePage) {
      return std::aligned_alloc(kAlignment, bytes);
    }
    // Fewer, larger pages: addresses are translated faster. Advice, so it may fail.
    void* block = std::aligned_alloc(kHugePage, (bytes + kHugePage - 1) / kHugePage * kHugePage);
    if (block != nullptr) {
      madvise(block, bytes, MADV_HUGEPAGE);
    }
    return block;
  }
  void system_release(void* block) override { std::free(block); }
};

// What is released is handed out again at once: all work of a device is ordered on one stream, so
// what still uses a block comes before what will.
class CudaAllocator final : public CachingAllocator {
 public:
  explicit CudaAllocator(int index) : CachingAllocator(Device::cuda(index)), index_(index) {}

 protected:
  void* system_allocate(std::size_t bytes) override {
    if constexpr (kWithCuda) {
      return cuda::allocate(index_, bytes);
    }
    return nullptr;
  }
  void system_release(void* block) override {
    if constexpr (kWithCuda) {
      cuda::release(index_, block);
    }
  }
  bool keeps_blocks() const override { return keeps_blocks_; }
  std::string free_memory() const override {
    if constexpr (kWithCuda) {
      const cuda::MemoryInfo info = cuda::memory_info(index_);
      return fmt::format(", and {} of the device's {} are free", info.free_bytes, info.total_bytes);
    }
    return {};
  }

 private:
  int index_;
  bool keeps_blocks_ = std::getenv("RONDO_CUDA_NO_CACHE") == nullptr;
};

CachingAllocator& cuda_allocator(int index) {
  static std::mutex mutex;
  static auto* const all = new std::map<int, CudaAllocator>();
  const std::lock_guard lock(mutex);
  return all->try_emplace(index, index).first->second;
}

}  // namespace

std::size_t CachingAllocator::rounded(std::size_t bytes) {
  const std::size_t least = std::max(bytes, kAlignment);
  const std::size_t step = std::max(kAlignment, std::bit_floor(least) / 8);
  return (least + step - 1) / step * step;
}

std::size_t CachingAllocator::size_of_block(std::size_t bytes) const {
  return keeps_blocks() ? rounded(bytes) : std::max<std::size_t>(bytes, 1);
}

void* CachingAllocator::allocate(std::size_t bytes) {
  const std::size_t size = size_of_block(bytes);
  const std::lock_guard lock(mutex_);
  ++stats_.requests;
  void* block = nullptr;
  if (const auto found = cached_.find(size); found != cached_.end() && !found->second.empty()) {
    block = found->second.back();
    found->second.pop_back();
  } else {
    block = system_allocate(size);
    if (block == nullptr) {
      release_cached();  // blocks of other sizes may make room
      block = system_allocate(size);
    }
    if (block == nullptr) {
      throw OutOfMemory(
          fmt::format("out of memory on {}: {} bytes were asked for beside {} in use{}",
                      device_.str(), bytes, stats_.in_use_bytes, free_memory()));
    }
    stats_.reserved_bytes += size;
    ++stats_.system_allocations;
  }
  mark_handed_out(device_, block, bytes, size);
  stats_.in_use_bytes += size;
  stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.in_use_bytes);
  return block;
}

void CachingAllocator::release(void* block, std::size_t bytes) {
  const std::size_t size = size_of_block(bytes);
  const std::lock_guard lock(mutex_);
  mark_released(device_, block, size);
  cached_[size].push_back(block);
  stats_.in_use_bytes -= size;
  if (!keeps_blocks()) {
    try {
      release_cached();
    } catch (const Error&) {  // of an earlier kernel, of which the next wait will tell, too
    }
  }
}

void CachingAllocator::trim() {
  const std::lock_guard lock(mutex_);
  release_cached();
}

void CachingAllocator::release_cached() {
  for (auto& [size, blocks] : cached_) {
    for (void* block : blocks) {
      mark_returned(device_, block, size);
      system_release(block);
      stats_.reserved_bytes -= size;
    }
  }
  cached_.clear();
}

MemoryStats CachingAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void CachingAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_bytes = stats_.in_use_bytes;
}

CachingAllocator& allocator(Device device) {
  if (device.is_cuda()) {
    require_available(device);
    return cuda_allocator(device.index);
  }
  require_cpu("allocator", device);
  // Never destroyed: tensors in static storage may outlive any destructor order we could pick.
  static auto* const cpu = new CpuAllocator();
  return *cpu;
}

}  // namespace rondo
