// Sums on the CPU whose bits do not depend on the thread count.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "core/parallel.h"

namespace rondo::cpu {

// The sum of term(i) over [0, count), in double: threads take fixed blocks, whose sums are added in
// their order.
template <typename Term>
double sum(std::int64_t count, const Term& term) {
  constexpr std::int64_t kBlock = 4096;
  const std::int64_t blocks = (count + kBlock - 1) / kBlock;
  std::vector<double> sums(static_cast<std::size_t>(blocks));
  parallel_for(0, blocks, 8, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t block = first; block < last; ++block) {
      const std::int64_t end = std::min(count, (block + 1) * kBlock);
      double total = 0.0;
#pragma omp simd reduction(+ : total)
      for (std::int64_t i = block * kBlock; i < end; ++i) {
        total += static_cast<double>(term(i));
      }
      sums[static_cast<std::size_t>(block)] = total;
    }
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace rondo::cpu
