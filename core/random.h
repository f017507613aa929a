// Random numbers whose whole state is two integers.
#pragma once

#include <cstdint>

#include "core/scalar/philox.h"
#include "core/tensor.h"

namespace rondo {

// One stream of random words: word i is a pure function of (seed, stream, i).
struct RandomStream {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;

  std::uint32_t word(std::uint64_t index) const {
    return philox(seed, stream, index / 4).word[index % 4];
  }
};

// Hands out one stream after another. Saving and restoring it is copying it.
class Generator {
 public:
  explicit Generator(std::uint64_t seed, std::uint64_t next_stream = 0)
      : seed_(seed), next_stream_(next_stream) {}

  RandomStream next() { return {seed_, next_stream_++}; }
  std::uint64_t seed() const { return seed_; }
  std::uint64_t next_stream() const { return next_stream_; }

 private:
  std::uint64_t seed_;
  std::uint64_t next_stream_;
};

// Fills `tensor` (f32 or f64; nothing happens on the meta device) with values uniform in
// [low, high).
void fill_uniform(Tensor& tensor, double low, double high, Generator& generator);

}  // namespace rondo
