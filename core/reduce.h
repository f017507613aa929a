// Sums on the CPU whose bits depend neither on the thread count nor on the instruction set.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "core/parallel.h"

namespace rondo::cpu {

// The sum of term(i) over [begin, end), in T. Sixteen running sums take the terms in turn, which
// the compiler makes vectors of, and which lose less to rounding than one sum would.
template <typename T, typename Term>
T lane_sum(std::int64_t begin, std::int64_t end, const Term& term) {
  constexpr std::int64_t kLanes = 16;
  T lanes[kLanes] = {};
  std::int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
#pragma omp simd
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] += static_cast<T>(term(i + lane));
    }
  }
  for (std::int64_t lane = 0; i < end; ++i, ++lane) {
    lanes[lane] += static_cast<T>(term(i));
  }
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::int64_t lane = 0; lane < half; ++lane) {
      lanes[lane] += lanes[lane + half];
    }
  }
  return lanes[0];
}

// The sum of term(i) over [0, count), in double, by all threads: they take fixed blocks, whose sums
// are added in order.
template <typename Term>
double sum(std::int64_t count, const Term& term) {
  constexpr std::int64_t kBlock = 4096;
  const std::int64_t blocks = (count + kBlock - 1) / kBlock;
  std::vector<double> sums(static_cast<std::size_t>(blocks));
  parallel_for(0, blocks, 8, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t block = first; block < last; ++block) {
      sums[static_cast<std::size_t>(block)] =
          lane_sum<double>(block * kBlock, std::min(count, (block + 1) * kBlock), term);
    }
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace rondo::cpu
