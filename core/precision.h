// How exact the matrix products of training are.
#pragma once

#include <cstdint>
#include <string_view>

namespace rondo {

// What the operands of matrix products are rounded to. Their sums, and everything else (weights as
// the optimizer sees them, the recurrent state, statistics, losses), are f32 either way.
enum class Precision : std::uint8_t { f32, bf16 };

// The name used in configs and reports.
constexpr std::string_view name(Precision precision) {
  return precision == Precision::bf16 ? "bf16" : "f32";
}

}  // namespace rondo
