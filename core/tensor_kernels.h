// GPU kernels of the tensor itself: fill, conversion, sum in place. Device pointers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/cuda.h"
#include "core/half.h"

namespace rondo::cuda {

// to[i] = value for every i. Word is an unsigned integer of the element's size, for bits are all
// that counts here: std::uint8_t, 16, 32 or 64.
template <typename Word>
void fill(Word* to, Word value, std::int64_t count, Stream stream);

// to[i] = from[i] in another type, rounded to nearest. Any two of float, double, bfloat16, float16.
template <typename From, typename To>
void convert(const From* from, To* to, std::int64_t count, Stream stream);

// to[i] += from[i]; `from` may be `to`. float, double, bfloat16 or float16; 16-bit sums are rounded
// once each.
template <typename T>
void add_in_place(T* to, const T* from, std::int64_t count, Stream stream);

}  // namespace rondo::cuda
