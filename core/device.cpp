#include "core/device.h"

#include <charconv>

#include "core/cuda.h"
#include "core/error.h"

namespace rondo {

Device Device::parse(std::string_view text) {
  if (text == "cpu") {
    return cpu();
  }
  if (text == "meta") {
    return meta();
  }
  if (text == "cuda") {
    return cuda(0);
  }
  constexpr std::string_view prefix = "cuda:";
  if (text.starts_with(prefix)) {
    const std::string_view digits = text.substr(prefix.size());
    int index = -1;
    const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (status == std::errc{} && end == digits.data() + digits.size() && index >= 0) {
      return cuda(index);
    }
  }
  fail("device '{}' is not known; expected cpu, cuda or cuda:N (N a whole number from 0)", text);
}

std::string Device::str() const {
  switch (type) {
    case DeviceType::cpu:
      return "cpu";
    case DeviceType::cuda:
      return fmt::format("cuda:{}", index);
    case DeviceType::meta:
      return "meta";
  }
  return "unknown";
}

void require_available(Device device) {
  if (device.is_cuda()) {
    if constexpr (kWithCuda) {
      cuda::require_device(device.index);
    } else {
      fail(
          "device {} was asked for, but this build of Rondo has no CUDA backend: it was made "
          "without "
          "the CUDA toolkit; use device: cpu, or build again with nvcc on the PATH",
          device.str());
    }
  }
}

void require_cpu(std::string_view op, Device device) {
  check(device.is_cpu(), "[{}] has no kernel for device {}; move its inputs to the CPU", op,
        device.str());
}

}  // namespace rondo
