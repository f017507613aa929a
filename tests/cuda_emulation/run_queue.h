// The threads of a block that can run.
#pragma once

#include <array>
#include <cstdint>
#include <numeric>
#include <utility>

#include "tests/cuda_emulation/executor.h"

namespace cuda_emulation {

// At most one entry for each thread of a block, taken in one of the three orders.
class RunQueue {
 public:
  void set_order(Order order, std::uint64_t seed) {
    order_ = order;
    random_ = seed * 0x9E3779B97F4A7C15U | 1U;  // xorshift must not start from zero
  }

  // The threads 0 to count - 1.
  void fill(unsigned count) {
    std::iota(entries_.begin(), entries_.begin() + count, std::uint16_t{0});
    first_ = 0;
    size_ = count;
  }
  void clear() { size_ = 0; }
  bool empty() const { return size_ == 0; }

  void add(unsigned thread) { at(size_++) = static_cast<std::uint16_t>(thread); }

  unsigned take() {
    if (order_ == Order::forward) {
      --size_;
      return entries_[first_++ % kMost];
    }
    if (order_ == Order::shuffled) {
      random_ ^= random_ << 13U;
      random_ ^= random_ >> 7U;
      random_ ^= random_ << 17U;
      std::swap(at(static_cast<unsigned>(random_ >> 32U) % size_), at(size_ - 1));
    }
    return at(--size_);
  }

 private:
  static constexpr unsigned kMost = 1024;  // threads of a block

  std::uint16_t& at(unsigned i) { return entries_[(first_ + i) % kMost]; }

  std::array<std::uint16_t, kMost> entries_{};
  unsigned first_ = 0;
  unsigned size_ = 0;
  Order order_ = Order::forward;
  std::uint64_t random_ = 1;
};

}  // namespace cuda_emulation
