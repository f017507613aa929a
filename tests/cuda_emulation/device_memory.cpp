#include "tests/cuda_emulation/device_memory.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string_view>

#include "tests/cuda_emulation/environment.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace cuda_emulation {
namespace {

struct Block {
  std::size_t bytes = 0;
  int device = 0;
  std::size_t used = 0;
};

// By address. Never destroyed: tensors in static storage are released late.
std::map<const std::byte*, Block>& blocks() {
  static auto* const all = new std::map<const std::byte*, Block>();
  return *all;
}

const std::byte* address(const void* pointer) { return static_cast<const std::byte*>(pointer); }

// The block that begins at or before `pointer`, if `pointer` is not beyond its end.
auto block_around(const void* pointer) {
  auto found = blocks().upper_bound(address(pointer));
  if (found == blocks().begin()) {
    return blocks().end();
  }
  --found;
  return address(pointer) <= found->first + found->second.bytes ? found : blocks().end();
}

void forbid([[maybe_unused]] const void* first, [[maybe_unused]] std::size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  __asan_poison_memory_region(first, bytes);
#endif
}

void permit([[maybe_unused]] const void* first, [[maybe_unused]] std::size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(first, bytes);
#endif
}

}  // namespace

std::mutex& device_mutex() {
  static auto* const mutex = new std::mutex();
  return *mutex;
}

void* allocate(int device, std::size_t bytes) {
  void* block = nullptr;
  if (bytes > free_bytes(device) || ::posix_memalign(&block, 256, bytes) != 0) {
    return nullptr;
  }
  std::memset(block, 0xFF, bytes);
  forbid(block, bytes);
  blocks()[address(block)] = {bytes, device, bytes};
  return block;
}

bool release(void* block) {
  const auto found = blocks().find(address(block));
  if (found == blocks().end()) {
    return false;
  }
  permit(block, found->second.bytes);
  blocks().erase(found);
  std::free(block);
  return true;
}

void set_used(const void* block, std::size_t bytes) {
  const std::lock_guard lock(device_mutex());
  Block& found = blocks().at(address(block));
  found.used = bytes;
  permit(block, bytes);
  std::memset(const_cast<void*>(block), 0xFF, bytes);
  forbid(block, bytes);
}

std::size_t total_bytes() {
  return static_cast<std::size_t>(setting("RONDO_EMULATION_MEMORY_MB", 2048)) << 20;
}

std::size_t free_bytes(int device) {
  std::size_t used = 0;
  for (const auto& [first, block] : blocks()) {
    used += block.device == device ? block.bytes : 0;
  }
  const std::size_t total = total_bytes();
  return used < total ? total - used : 0;
}

bool on_device(const void* first, std::size_t bytes) {
  const auto block = block_around(first);
  return block != blocks().end() && address(first) + bytes <= block->first + block->second.bytes;
}

bool touches_device(const void* first, std::size_t bytes) {
  const auto next = blocks().lower_bound(address(first));
  if (next != blocks().end() && next->first < address(first) + bytes) {
    return true;
  }
  const auto block = block_around(first);
  return block != blocks().end() && address(first) < block->first + block->second.bytes;
}

const void* find_host_pointer([[maybe_unused]] std::span<const std::byte> bytes) {
#ifdef __SANITIZE_ADDRESS__
  for (std::size_t i = 0; i + sizeof(void*) <= bytes.size(); i += sizeof(void*)) {
    void* pointer = nullptr;
    std::memcpy(&pointer, bytes.data() + i, sizeof(pointer));
    // Numbers that are no addresses; then addresses that kernels may use.
    if (reinterpret_cast<std::uintptr_t>(pointer) >> 40U == 0 ||
        reinterpret_cast<std::uintptr_t>(pointer) >> 47U != 0 ||
        block_around(pointer) != blocks().end()) {
      continue;
    }
    void* region = nullptr;
    std::size_t region_bytes = 0;
    const std::string_view kind =
        __asan_locate_address(pointer, nullptr, 0, &region, &region_bytes);
    if (kind == "heap" || kind == "stack") {
      return pointer;
    }
  }
#endif
  return nullptr;
}

DeviceAccess::DeviceAccess(int device) {
  for (const auto& [first, block] : blocks()) {
    if (block.device == device) {
      blocks_.push_back({first, block.used});
      permit(first, block.used);
    }
  }
}

DeviceAccess::DeviceAccess(std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers) {
    if (const auto found = block_around(pointer); found != blocks().end()) {
      blocks_.push_back({found->first, found->second.used});
      permit(found->first, found->second.used);
    }
  }
}

DeviceAccess::~DeviceAccess() {
  for (const auto& block : blocks_) {
    forbid(block.data(), block.size());
  }
}

}  // namespace cuda_emulation
