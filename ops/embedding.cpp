#include "ops/embedding.h"

#include <algorithm>

#include "core/parallel.h"
#include "cuda_kernels/embedding.h"
#include "ops/cast.h"
#include "ops/device.h"
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

template <typename Stream>
void gather_on_gpu(const Tensor& ids, const Tensor& weight, Tensor& y, Stream stream) {
  dispatch_floating(y.dtype(), "embedding", [&]<typename A>(Type<A>) {
    cuda::embedding(ids.device_data<std::int32_t>(), weight.device_data<ComputeType<A>>(),
                    ids.numel(), weight.size(0), weight.size(1), y.device_data<A>(), stream);
  });
}

// Adds to grad_weight, which is zero.
template <typename Stream>
void scatter_on_gpu(const Tensor& ids, const Tensor& grad_y, Tensor& grad_weight, Stream stream) {
  const std::int64_t count = ids.numel();
  Tensor sort_scratch =
      Tensor::empty({cuda::embedding_sort_scratch(count)}, DType::i32, ids.device());
  Tensor partial_sums = Tensor::empty({cuda::embedding_partial_rows(count), grad_weight.size(1)},
                                      grad_weight.dtype(), grad_weight.device());
  dispatch_floating(grad_y.dtype(), "embedding", [&]<typename A>(Type<A>) {
    using P = ComputeType<A>;
    cuda::EmbeddingBackward<A> params;
    params.count = count;
    params.v = grad_weight.size(0);
    params.d = grad_weight.size(1);
    params.ids = ids.device_data<std::int32_t>();
    params.grad_y = grad_y.device_data<A>();
    params.sort_scratch = sort_scratch.device_data<std::int32_t>();
    params.partial_sums = partial_sums.device_data<P>();
    params.grad_weight = grad_weight.device_data<P>();
    cuda::embedding_backward(params, stream);
  });
}

Shape with_trailing(const Shape& shape, std::int64_t size) {
  std::vector<std::int64_t> sizes(shape.begin(), shape.end());
  sizes.push_back(size);
  return Shape(sizes);
}

}  // namespace

Variable embedding(const Tensor& ids, const Variable& weight, std::optional<DType> dtype) {
  check(weight.shape().rank() == 2 && weight.size(1) > 0,
        "[embedding] weight has shape {}; expected (V, d) with d > 0", weight.shape().str());
  check(weight.dtype() == DType::f32 || weight.dtype() == DType::f64,
        "[embedding] weight is {}; expected f32 or f64", name(weight.dtype()));
  const DType type = dtype.value_or(weight.dtype());
  const bool narrows_on_gpu =
      weight.device().is_cuda() && weight.dtype() == DType::f32 && type != DType::f64;
  if (type != weight.dtype() && !narrows_on_gpu) {
    return cast(embedding(ids, weight), type);
  }
  const Tensor here = ids_on(weight.device(), "embedding", "ids", ids, weight.size(0));
  check(ids.numel() <= 1 << 30, "[embedding] ids have shape {}; expected at most 2^30 of them",
        ids.shape().str());

  const std::int64_t d = weight.size(1);
  Tensor y = Tensor::empty(with_trailing(ids.shape(), d), type, weight.device());
  run_on(
      y.device(),
      [&] {
        dispatch_compute(type, "embedding", [&]<typename T>(Type<T>) {
          gather_rows(here.data<std::int32_t>(), weight.value().data<T>(), here.numel(), d,
                      y.data<T>());
        });
      },
      [&](auto stream) { gather_on_gpu(here, weight.value(), y, stream); });
  return record("embedding", std::move(y), {weight},
                [=, shape = weight.shape(), type = weight.dtype()](std::span<const Tensor> grads) {
                  Tensor grad_weight = Tensor::zeros(shape, type, here.device());
                  run_on(
                      here.device(),
                      [&] {
                        dispatch_compute(type, "embedding", [&]<typename T>(Type<T>) {
                          scatter_rows(here.data<std::int32_t>(), grads[0].data<T>(), here.numel(),
                                       d, grad_weight.data<T>());
                        });
                      },
                      [&](auto stream) { scatter_on_gpu(here, grads[0], grad_weight, stream); });
                  return std::vector<Tensor>{grad_weight};
                });
}

}  // namespace rondo
