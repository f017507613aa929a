// The check of tensors of ids that operations index with.
#pragma once

#include <algorithm>
#include <string_view>

#include "core/tensor.h"

namespace rondo {

// Throws Error, naming the id and its place (counted through `ids` in row-major order), unless
// `ids` is an i32 tensor whose elements are all in [0, limit). `what` names the argument. Elements
// on a GPU are not looked at, for that would wait for it: kernels must bear any value.
inline void check_ids(std::string_view op, std::string_view what, const Tensor& ids,
                      std::int64_t limit) {
  check(ids.defined() && ids.dtype() == DType::i32, "[{}] {} must be a tensor of i32{}", op, what,
        ids.defined() ? fmt::format(", not {}", name(ids.dtype())) : "");
  if (!ids.device().is_cpu()) {
    return;
  }
  const auto values = ids.values<std::int32_t>();
  const auto bad = std::find_if(values.begin(), values.end(),
                                [=](std::int32_t id) { return id < 0 || id >= limit; });
  if (bad != values.end()) {
    fail("[{}] {}: {} at position {} of shape {} is out of range; expected 0 to {}", op, what, *bad,
         bad - values.begin(), ids.shape().str(), limit - 1);
  }
}

// `ids`, checked as above, where the operation runs: itself if it is there.
inline Tensor ids_on(Device device, std::string_view op, std::string_view what, const Tensor& ids,
                     std::int64_t limit) {
  check_ids(op, what, ids, limit);
  if (ids.device() == device) {
    return ids;
  }
  Tensor moved = ids.to(device);
  if (device.is_cpu()) {
    check_ids(op, what, moved, limit);
  }
  return moved;
}

}  // namespace rondo
