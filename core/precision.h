// How exact the matrix products of training are.
#pragma once

#include <cstdint>

namespace rondo {

// What the operands of matrix products are rounded to. Their sums, and everything else (weights as
// the optimizer sees them, the recurrent state, statistics, losses), are f32 either way.
enum class Precision : std::uint8_t { f32, bf16 };

}  // namespace rondo
