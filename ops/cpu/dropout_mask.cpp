#include "ops/cpu/dropout_mask.h"

#include <algorithm>

namespace rondo::cpu {

void make_dropout_mask_plain(const RandomStream& stream, float p, std::int64_t first,
                             std::int64_t count, std::uint8_t* bits) {
  const std::uint32_t threshold = dropout_threshold(p);
  std::fill_n(bits, count * (kDropoutGroup / 8), std::uint8_t{0});
  for (std::int64_t i = 0; i < count * kDropoutGroup; ++i) {
    const auto element = static_cast<std::uint64_t>(first * kDropoutGroup + i);
    if (dropout_keeps(stream.word(element), threshold)) {
      bits[i / 8] = static_cast<std::uint8_t>(bits[i / 8] | (1U << (i % 8)));
    }
  }
}

// f64 is for checks, and plain.
void apply_dropout_mask(const std::uint8_t* bits, double factor, const double* from, std::int64_t n,
                        double* to) {
  for (std::int64_t i = 0; i < n; ++i) {
    to[i] = ((bits[i / 8] >> (i % 8)) & 1U) != 0 ? from[i] * factor : 0.0;
  }
}

}  // namespace rondo::cpu
