// Conversion between an element's storage type and the type its arithmetic happens in.
#pragma once

#include <type_traits>

#include "core/half.h"
#include "core/scalar/portable.h"

namespace rondo {

template <typename T>
inline constexpr bool is_half = std::is_same_v<T, bfloat16> || std::is_same_v<T, float16>;

// `value` as a To. Half types convert through float.
template <typename To, typename From>
RONDO_HOST_DEVICE To convert_element(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (is_half<From>) {
    return convert_element<To>(static_cast<float>(value));
  } else if constexpr (is_half<To>) {
    return To(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

// An element as the type that its arithmetic happens in.
template <typename T>
RONDO_HOST_DEVICE ComputeType<T> to_compute(T value) {
  return convert_element<ComputeType<T>>(value);
}

}  // namespace rondo
