// One step of an LSTM layer for one unit (Hochreiter & Schmidhuber 1997, with the forget gate of
// Gers et al. 2000), forward and backward, after the products with the weights. The only place
// where this arithmetic is written: V is float or double in plain loops and on a GPU, and a vector
// of floats in ops/cpu/lstm_simd.cpp.
#pragma once

#include <cmath>

#include "core/scalar/activation.h"
#include "core/scalar/portable.h"

namespace rondo {

#include "core/scalar/lstm_step.inc"

}  // namespace rondo
