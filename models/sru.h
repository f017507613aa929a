// SRU and projected SRU: U = x W, or U = (x W1) W2 through a smaller size.
#pragma once

#include "models/sru_stack.h"

namespace rondo {

struct SruOptions {
  StackOptions stack;
  std::int64_t projection_size = 0;  // 0: one full matrix
};

// A stack of SRU layers (Lei et al., EMNLP 2018, with the state-dependent gates of the current
// reference implementation).
SruStack make_sru(const SruOptions& options, Initializer& init);

}  // namespace rondo
