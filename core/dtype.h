// Element types of tensors, and the step from a run-time type to a compile-time one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/error.h"
#include "core/half.h"

namespace rondo {

enum class DType : std::uint8_t { f32, f64, bf16, f16, i32, i64, u8, boolean };

// The name used in messages and configs: "f32", "bool", ...
std::string_view name(DType dtype);
// Bytes of one element.
std::size_t size_of(DType dtype);
// f32, f64, bf16 or f16.
bool is_floating(DType dtype);

template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<bfloat16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<float16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<std::int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::boolean;
};

template <typename T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

// Names a type without a value of it: `dispatch_compute(dtype, "softmax", [&]<typename T>(Type<T>)
// ...)`.
template <typename T>
struct Type {
  using type = T;
};

// Calls `body(Type<float>{})` or `body(Type<double>{})`: the types that CPU arithmetic is done in.
template <typename Body>
decltype(auto) dispatch_compute(DType dtype, std::string_view op, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body(Type<float>{});
    case DType::f64:
      return body(Type<double>{});
    default:
      fail("[{}] arithmetic on the CPU is done in f32 or f64, not {}; convert the tensor first", op,
           name(dtype));
  }
}

// Calls `body` with the type of any floating-point dtype: those that GPU arithmetic is done on.
template <typename Body>
decltype(auto) dispatch_floating(DType dtype, std::string_view op, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body(Type<float>{});
    case DType::f64:
      return body(Type<double>{});
    case DType::bf16:
      return body(Type<bfloat16>{});
    case DType::f16:
      return body(Type<float16>{});
    default:
      fail("[{}] expected a floating-point type, found {}", op, name(dtype));
  }
}

}  // namespace rondo
