// One step of the SRU recurrence for one unit (SRU++ paper, section 3; srupp equations 1 to 4),
// forward and backward. The only place where this arithmetic is written: V is float or double in
// plain loops and on a GPU, and a vector of floats in ops/cpu/sru_scan_simd.cpp.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/scalar/activation.h"
#include "core/scalar/portable.h"

namespace rondo {

// g in h = g(c).
enum class Activation : std::uint8_t { identity, tanh };

#include "core/scalar/sru_step.inc"

}  // namespace rondo
