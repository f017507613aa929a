#include "ops/embedding.h"

#include <algorithm>

#include "core/parallel.h"
#include "ops/ids.h"

namespace rondo {
namespace {

template <typename T>
void gather_rows(const std::int32_t* ids, const T* weight, std::int64_t count, std::int64_t d,
                 T* y) {
  const std::int64_t grain = (std::int64_t{1} << 15) / d;
  parallel_for(0, count, grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::copy_n(weight + ids[i] * d, d, y + i * d);
    }
  });
}

// grad_weight[ids[i]] += grad_y[i]. Threads take columns, so a row that several ids name is summed
// in the order of the ids, whatever the thread count.
template <typename T>
void scatter_rows(const std::int32_t* ids, const T* grad_y, std::int64_t count, std::int64_t d,
                  T* grad_weight) {
  parallel_for(0, d, 64, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = 0; i < count; ++i) {
      const T* from = grad_y + i * d;
      T* to = grad_weight + ids[i] * d;
#pragma omp simd
      for (std::int64_t column = begin; column < end; ++column) {
        to[column] += from[column];
      }
    }
  });
}

Shape with_trailing(const Shape& shape, std::int64_t size) {
  std::vector<std::int64_t> sizes(shape.begin(), shape.end());
  sizes.push_back(size);
  return Shape(sizes);
}

}  // namespace

Variable embedding(const Tensor& ids, const Variable& weight) {
  check(weight.shape().rank() == 2 && weight.size(1) > 0,
        "[embedding] weight has shape {}; expected (V, d) with d > 0", weight.shape().str());
  require_cpu("embedding", weight.device());
  check_ids("embedding", "ids", ids, weight.size(0));

  const std::int64_t d = weight.size(1);
  Tensor y = Tensor::empty(with_trailing(ids.shape(), d), weight.dtype(), weight.device());
  dispatch_compute(weight.dtype(), "embedding", [&]<typename T>(Type<T>) {
    gather_rows(ids.data<std::int32_t>(), weight.value().data<T>(), ids.numel(), d, y.data<T>());
  });
  return record("embedding", std::move(y), {weight},
                [=, shape = weight.shape()](std::span<const Tensor> grads) {
                  Tensor grad_weight = Tensor::zeros(shape, grads[0].dtype(), grads[0].device());
                  dispatch_compute(grads[0].dtype(), "embedding", [&]<typename T>(Type<T>) {
                    scatter_rows(ids.data<std::int32_t>(), grads[0].data<T>(), ids.numel(), d,
                                 grad_weight.data<T>());
                  });
                  return std::vector<Tensor>{grad_weight};
                });
}

}  // namespace rondo
