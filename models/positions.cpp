#include "models/positions.h"

#include <cmath>

#include "core/half.h"

namespace rondo {
namespace {

bool has_kind(const Tensor& tensor, DType dtype, Device device) {
  return tensor.defined() && tensor.dtype() == dtype && tensor.device() == device;
}

}  // namespace

Tensor Sinusoids::make(std::int64_t length, bool falling) const {
  Tensor table = Tensor::empty({length, size_}, DType::f64);
  const std::int64_t half = (size_ + 1) / 2;
  for (std::int64_t i = 0; i < half; ++i) {
    const double frequency =
        std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(size_));
    for (std::int64_t row = 0; row < length; ++row) {
      const auto position = static_cast<double>(falling ? length - 1 - row : row);
      double* to = table.data<double>() + row * size_;
      to[i] = std::sin(position * frequency);
      if (half + i < size_) {
        to[half + i] = std::cos(position * frequency);
      }
    }
  }
  return table;
}

Tensor Sinusoids::falling(std::int64_t length, DType dtype, Device device) const {
  const std::lock_guard lock(mutex_);
  if (!has_kind(falling_, dtype, device) || falling_.size(0) < length) {
    falling_ = make(length, true).to(dtype).to(device);
  }
  return falling_.narrow(falling_.size(0) - length, length);
}

Tensor Sinusoids::spread(std::int64_t length, std::int64_t batch, DType dtype,
                         Device device) const {
  const std::lock_guard lock(mutex_);
  if (!has_kind(spread_, dtype, device) || spread_.size(0) < length || spread_.size(1) != batch) {
    const Tensor table = make(length, false);
    Tensor all = Tensor::empty({length, batch, size_}, DType::f64);
    for (std::int64_t row = 0; row < length; ++row) {
      for (std::int64_t b = 0; b < batch; ++b) {
        all[row][b].copy_from(table[row]);
      }
    }
    spread_ = all.to(dtype).to(device);
  }
  return spread_.narrow(0, length);
}

}  // namespace rondo
