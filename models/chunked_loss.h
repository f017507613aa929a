// The loss over a large vocabulary without all of its scores at once.
#pragma once

#include <algorithm>
#include <cstdint>

#include "autograd/variable.h"
#include "ops/cross_entropy.h"

namespace rondo {

// The sum of cross_entropy(scores(h), targets) over rows: f64 of shape {1}, on the device of h.
//   h        (R, D)
//   targets  (R)
//   width    how many scores a row has
//   scores   Tensor (r, width) of Tensor (r, D): called for so many rows at a time that their
//            scores take at most 256 MiB, or for one
template <typename Scores>
Tensor chunked_loss_sum(const Tensor& h, const Tensor& targets, std::int64_t width,
                        const Scores& scores) {
  constexpr std::int64_t kMostScores = std::int64_t{1} << 26;
  const std::int64_t rows = h.size(0);
  const std::int64_t most = std::max<std::int64_t>(1, kMostScores / width);
  const NoGradGuard no_grad;
  Tensor total = Tensor::zeros({1}, DType::f64, h.device());
  for (std::int64_t start = 0; start < rows; start += most) {
    const std::int64_t length = std::min(most, rows - start);
    total.add_(cross_entropy_sum(scores(h.narrow(start, length)), targets.narrow(start, length)));
  }
  return total;
}

}  // namespace rondo
