// Dropout masks as bits: which elements of a stream are kept, and the product with such a mask.
#pragma once

#include <cstdint>

#include "core/random.h"

namespace rondo::cpu {

// Masks are made in groups of this many elements.
constexpr std::int64_t kDropoutGroup = 64;

constexpr std::int64_t dropout_groups(std::int64_t elements) {
  return (elements + kDropoutGroup - 1) / kDropoutGroup;
}
constexpr std::int64_t dropout_mask_bytes(std::int64_t elements) {
  return dropout_groups(elements) * (kDropoutGroup / 8);
}

// Which elements of the groups [first, first + count) are kept at probability `p`: element i when
// word i of `stream`, as a number in [0, 1), is at least p. Bit i mod 8 of byte i / 8, counted from
// the first group; `bits` takes 8 bytes a group. Vectorised; the plain loop is the specification.
void make_dropout_mask(const RandomStream& stream, float p, std::int64_t first, std::int64_t count,
                       std::uint8_t* bits);
void make_dropout_mask_plain(const RandomStream& stream, float p, std::int64_t first,
                             std::int64_t count, std::uint8_t* bits);

// to[i] = from[i] * factor where bit i is set, else 0. `to` may be `from`.
void apply_dropout_mask(const std::uint8_t* bits, float factor, const float* from, std::int64_t n,
                        float* to);
void apply_dropout_mask(const std::uint8_t* bits, double factor, const double* from, std::int64_t n,
                        double* to);

}  // namespace rondo::cpu
