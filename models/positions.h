// What tells a Transformer where it is: the sinusoids of Vaswani et al. (2017, section 3.5).
#pragma once

#include <mutex>

#include "core/tensor.h"

namespace rondo {

// The row of position p has sin(p w_i) in its first half and cos(p w_i) in its second, with
// w_i = 10000^(-2 i / size). Of an odd `size`, the first half is one longer. Tables are made when
// they are first asked for and kept, so that a step of training makes none. Thread-safe.
class Sinusoids {
 public:
  explicit Sinusoids(std::int64_t size) : size_(size) {}

  // (length, size): length - 1, ..., 1, 0.
  Tensor falling(std::int64_t length, DType dtype, Device device) const;
  // (length, batch, size): 0, 1, ..., length - 1, the same for every batch entry.
  Tensor spread(std::int64_t length, std::int64_t batch, DType dtype, Device device) const;

 private:
  Tensor make(std::int64_t length, bool falling) const;

  std::int64_t size_;
  mutable std::mutex mutex_;
  mutable Tensor falling_, spread_;
};

}  // namespace rondo
