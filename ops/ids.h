// The check of tensors of ids that operations index with.
#pragma once

#include <algorithm>
#include <string_view>

#include "core/tensor.h"

namespace rondo {

// Throws Error, naming the id and its place (counted through `ids` in row-major order), unless
// `ids` is an i32 tensor on the CPU whose elements are all in [0, limit). `what` names the
// argument.
inline void check_ids(std::string_view op, std::string_view what, const Tensor& ids,
                      std::int64_t limit) {
  check(ids.defined() && ids.dtype() == DType::i32, "[{}] {} must be a tensor of i32{}", op, what,
        ids.defined() ? fmt::format(", not {}", name(ids.dtype())) : "");
  const auto values = ids.values<std::int32_t>();
  const auto bad = std::find_if(values.begin(), values.end(),
                                [=](std::int32_t id) { return id < 0 || id >= limit; });
  if (bad != values.end()) {
    fail("[{}] {}: {} at position {} of shape {} is out of range; expected 0 to {}", op, what, *bad,
         bad - values.begin(), ids.shape().str(), limit - 1);
  }
}

}  // namespace rondo
