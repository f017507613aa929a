// How exact the matrix products of training are.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "core/device.h"
#include "core/dtype.h"

namespace rondo {

// What the operands of matrix products are rounded to. Their sums, weights as the optimizer sees
// them, the recurrent state, statistics and losses are f32 with all of them. On a GPU, bf16 and f16
// are also the types that activations are kept in; on the CPU these are f32. tf32 (f32 with 10 bits
// of fraction, on tensor cores) and f16 are for GPUs.
enum class Precision : std::uint8_t { f32, bf16, tf32, f16 };

// The name used in configs and reports.
constexpr std::string_view name(Precision precision) {
  constexpr std::array<std::string_view, 4> names = {"f32", "bf16", "tf32", "f16"};
  return names[static_cast<std::size_t>(precision)];
}

// The type of activations with `precision` on `device`.
constexpr DType activation_type(Precision precision, Device device) {
  if (!device.is_cuda()) {
    return DType::f32;
  }
  return precision == Precision::bf16  ? DType::bf16
         : precision == Precision::f16 ? DType::f16
                                       : DType::f32;
}

}  // namespace rondo
