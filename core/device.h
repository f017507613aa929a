// Where a tensor lives.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace rondo {

enum class DeviceType : std::uint8_t {
  cpu,
  cuda,
  meta,  // shapes without storage: counts a model's parameters without allocating them
};

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;

  static Device cpu() { return {}; }
  static Device cuda(int index) { return {DeviceType::cuda, index}; }
  static Device meta() { return {DeviceType::meta, 0}; }

  // Reads "cpu", "cuda", "cuda:N" or "meta"; throws Error for anything else.
  static Device parse(std::string_view text);

  bool is_cpu() const { return type == DeviceType::cpu; }
  constexpr bool is_cuda() const { return type == DeviceType::cuda; }
  bool is_meta() const { return type == DeviceType::meta; }
  std::string str() const;

  friend bool operator==(const Device&, const Device&) = default;
};

// Throws Error, saying what to do, when this build or this machine has no such device.
void require_available(Device device);

// Throws Error unless `device` is the CPU: the check of what is done nowhere else.
void require_cpu(std::string_view op, Device device);

}  // namespace rondo
