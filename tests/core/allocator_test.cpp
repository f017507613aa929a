#include "core/allocator.h"

#include <cstdint>
#include <cstdlib>

#include "core/tensor.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// Counts what it gets from the system, and has only so much.
class CountingAllocator final : public CachingAllocator {
 public:
  explicit CountingAllocator(std::size_t limit) : CachingAllocator(Device::cpu()), left_(limit) {}
  ~CountingAllocator() override { trim(); }

  int blocks = 0;

 protected:
  void* system_allocate(std::size_t bytes) override {
    if (bytes > left_) {
      return nullptr;
    }
    left_ -= bytes;
    ++blocks;
    return std::aligned_alloc(64, bytes);
  }
  void system_release(void* block) override {
    --blocks;
    std::free(block);
  }

 private:
  std::size_t left_;
};

}  // namespace

TEST_CASE("the allocator rounds up by an eighth at most", "[core][allocator]") {
  REQUIRE(CachingAllocator::rounded(0) == 64);
  REQUIRE(CachingAllocator::rounded(1) == 64);
  REQUIRE(CachingAllocator::rounded(64) == 64);
  REQUIRE(CachingAllocator::rounded(65) == 128);
  REQUIRE(CachingAllocator::rounded(1 << 20) == 1 << 20);
  REQUIRE(CachingAllocator::rounded((1 << 20) + 1) == (1 << 20) + (1 << 17));
  std::size_t before = 0;
  for (std::size_t bytes = 1; bytes < (std::size_t{1} << 40); bytes += 1 + bytes / 60) {
    const std::size_t size = CachingAllocator::rounded(bytes);
    REQUIRE(size >= bytes);
    REQUIRE(size % 64 == 0);
    REQUIRE(size >= before);
    REQUIRE(CachingAllocator::rounded(size) == size);
    REQUIRE(size <= std::max<std::size_t>(bytes + 64, bytes + bytes / 8));
    before = size;
  }
}

TEST_CASE("the allocator hands released blocks out again", "[core][allocator]") {
  CountingAllocator memory(1 << 20);
  void* const block = memory.allocate(1000);
  REQUIRE(reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
  void* const other = memory.allocate(1000);
  REQUIRE(block != other);
  memory.release(block, 1000);
  // A size that rounds to the same takes the block; another does not.
  void* const different = memory.allocate(3000);
  REQUIRE(memory.blocks == 3);
  REQUIRE(memory.allocate(1001) == block);
  REQUIRE(memory.blocks == 3);
  memory.release(block, 1001);
  memory.release(other, 1000);
  memory.release(different, 3000);
  REQUIRE(memory.blocks == 3);
  memory.trim();
  REQUIRE(memory.blocks == 0);
  REQUIRE(memory.stats().system_allocations == 3);  // ever taken, given back or not
}

TEST_CASE("the allocator counts bytes", "[core][allocator]") {
  CountingAllocator memory(1 << 20);
  const std::size_t size = CachingAllocator::rounded(5000);
  void* const first = memory.allocate(5000);
  void* const second = memory.allocate(5000);
  REQUIRE(memory.stats().in_use_bytes == 2 * size);
  memory.release(first, 5000);
  REQUIRE(memory.stats().in_use_bytes == size);
  REQUIRE(memory.stats().peak_bytes == 2 * size);
  REQUIRE(memory.stats().reserved_bytes == 2 * size);
  memory.reset_peak();
  REQUIRE(memory.stats().peak_bytes == size);
  memory.trim();
  REQUIRE(memory.stats().reserved_bytes == size);
  memory.release(second, 5000);
  memory.trim();
  REQUIRE(memory.stats().in_use_bytes == 0);
  REQUIRE(memory.stats().reserved_bytes == 0);
}

TEST_CASE("the allocator explains that memory is short", "[core][allocator]") {
  CountingAllocator memory(4096);
  void* const block = memory.allocate(2048);
  const std::string message = error_of([&] { memory.allocate(3000); });
  REQUIRE_THAT(message, ContainsSubstring("out of memory on cpu: 3000 bytes") &&
                            ContainsSubstring("2048 in use"));
  REQUIRE(memory.stats().in_use_bytes == 2048);
  memory.release(block, 2048);
}

TEST_CASE("a training step of repeated sizes asks for nothing new", "[core][allocator]") {
  const auto step = [] {
    const Tensor a = Tensor::zeros({37, 5});
    const Tensor b = a.clone();
    const Tensor c = Tensor::zeros({100});
  };
  step();
  const auto before = allocator(Device::cpu()).stats();
  step();
  const auto after = allocator(Device::cpu()).stats();
  REQUIRE(after.reserved_bytes == before.reserved_bytes);
  REQUIRE(after.system_allocations == before.system_allocations);
  REQUIRE(after.in_use_bytes == before.in_use_bytes);
}
