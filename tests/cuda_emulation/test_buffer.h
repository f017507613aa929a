// What the tests of the emulation share: memory of a device, and the orders.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <vector>

#include "core/cuda_launch.cuh"
#include "tests/support/catch.h"

namespace cuda_emulation {

inline constexpr Order kOrders[] = {Order::forward, Order::reverse, Order::shuffled};

// Fixes the order until it goes out of scope.
class FixedOrder {
 public:
  explicit FixedOrder(Order order) { set_order(order); }
  ~FixedOrder() { set_order(std::nullopt); }
  FixedOrder(const FixedOrder&) = delete;
  FixedOrder& operator=(const FixedOrder&) = delete;
};

inline rondo::cuda::Stream work() { return rondo::cuda::stream(rondo::Device::cuda(0)); }

// Memory of the first device. Reads and writes are copies.
template <typename T>
class Buffer {
 public:
  explicit Buffer(std::size_t count) : count_(count) {
    work();
    REQUIRE(cudaMalloc(&data_, count * sizeof(T)) == cudaSuccess);
  }
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) {
    rondo::cuda::copy_to_device(data_, values.data(), count_ * sizeof(T), work());
  }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    rondo::cuda::copy_to_host(values.data(), data_, count_ * sizeof(T), work());
    return values;
  }

 private:
  T* data_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace cuda_emulation
