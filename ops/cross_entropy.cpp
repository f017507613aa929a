#include "ops/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/parallel.h"
#include "cuda_kernels/cross_entropy.h"
#include "ops/cpu/softmax.h"
#include "ops/device.h"
#include "ops/ids.h"

namespace rondo {
namespace {

// The nats of one row, whose softmax is left in `work`. If it is the gradient that is wanted, work
// becomes factor * (softmax(x) - onehot(target)).
template <typename T>
double row_nats(const T* x, std::int64_t target, std::int64_t v, double factor, bool wants_grad,
                T* work) {
  std::copy_n(x, v, work);
  const T log_sum = cpu::softmax_in_place(work, v);
  // The logarithm of the probability loses less to rounding than a difference of large scores; one
  // too small for its type leaves only the difference.
  const double probability = work[target];
  const double nats = probability > static_cast<double>(std::numeric_limits<T>::min())
                          ? -std::log(probability)
                          : static_cast<double>(log_sum) - static_cast<double>(x[target]);
  if (wants_grad) {
    const T scale = static_cast<T>(factor);
    for (std::int64_t i = 0; i < v; ++i) {
      work[i] *= scale;
    }
    work[target] -= scale;
  }
  return nats;
}

// factor times the sum of the nats of all rows, added in their order, of type `dtype` and shape
// {1}; `grad` (null for none) gets its gradient.
Tensor total_on_cpu(std::string_view op, const Tensor& logits, const Tensor& targets, double factor,
                    DType dtype, Tensor* grad) {
  const std::int64_t rows = logits.shape().rows();
  const std::int64_t v = logits.shape().back();
  std::vector<double> nats(static_cast<std::size_t>(rows));
  dispatch_compute(logits.dtype(), op, [&]<typename T>(Type<T>) {
    const T* x = logits.data<T>();
    const auto* target = targets.data<std::int32_t>();
    T* to = grad != nullptr ? grad->data<T>() : nullptr;
    const std::int64_t grain = (std::int64_t{1} << 12) / v;
    parallel_for(0, rows, grain, [&](std::int64_t begin, std::int64_t end) {
      std::vector<T> scratch(to == nullptr ? static_cast<std::size_t>(v) : 0);
      for (std::int64_t row = begin; row < end; ++row) {
        nats[static_cast<std::size_t>(row)] =
            row_nats(x + row * v, target[row], v, factor, to != nullptr,
                     to != nullptr ? to + row * v : scratch.data());
      }
    });
  });
  return Tensor::full({1}, factor * std::accumulate(nats.begin(), nats.end(), 0.0), dtype);
}

template <typename Stream>
Tensor total_on_gpu(std::string_view op, const Tensor& logits, const Tensor& targets, double factor,
                    DType dtype, Tensor* grad, Stream stream) {
  const std::int64_t rows = logits.shape().rows();
  Tensor nats = Tensor::empty({rows}, DType::f64, logits.device());
  dispatch_floating(logits.dtype(), op, [&]<typename A>(Type<A>) {
    cuda::CrossEntropy<A> params;
    params.rows = rows;
    params.v = logits.shape().back();
    params.factor = factor;
    params.logits = logits.device_data<A>();
    params.targets = targets.device_data<std::int32_t>();
    params.nats = nats.device_data<double>();
    params.grad = grad != nullptr ? grad->device_data<A>() : nullptr;
    cuda::cross_entropy(params, stream);
  });
  Tensor total = Tensor::empty({1}, dtype, logits.device());
  dispatch_compute(dtype, op, [&]<typename T>(Type<T>) {
    cuda::sum_nats(nats.device_data<double>(), rows, factor, total.device_data<T>(), stream);
  });
  return total;
}

Tensor total_nats(std::string_view op, const Tensor& logits, const Tensor& targets, double factor,
                  DType dtype, Tensor* grad) {
  Tensor total;
  run_on(
      logits.device(), [&] { total = total_on_cpu(op, logits, targets, factor, dtype, grad); },
      [&](auto stream) { total = total_on_gpu(op, logits, targets, factor, dtype, grad, stream); });
  return total;
}

// values *= factor, which is a tensor of one element on their device.
void scale_in_place(Tensor& values, const Tensor& factor) {
  run_on(
      values.device(),
      [&] {
        const double by = factor.item();
        if (by == 1.0) {
          return;
        }
        dispatch_compute(values.dtype(), "cross_entropy", [&]<typename T>(Type<T>) {
          T* to = values.data<T>();
          parallel_for(0, values.numel(), 1 << 15, [=](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
              to[i] *= static_cast<T>(by);
            }
          });
        });
      },
      [&](auto stream) {
        dispatch_floating(values.dtype(), "cross_entropy", [&]<typename A>(Type<A>) {
          cuda::scale_unless_one(values.device_data<A>(), values.numel(),
                                 factor.device_data<ComputeType<A>>(), stream);
        });
      });
}

// The targets where the logits are.
Tensor checked_targets(std::string_view op, const Tensor& logits, const Tensor& targets) {
  check(logits.defined() && logits.shape().rank() >= 1 && logits.shape().back() > 0,
        "[{}] logits have shape {}; expected (..., V) with V > 0", op, logits.shape().str());
  const Shape& shape = logits.shape();
  check_shape(op, "targets", targets, Shape(std::span(shape.begin(), shape.end() - 1)));
  return ids_on(logits.device(), op, "targets", targets, shape.back());
}

}  // namespace

Variable cross_entropy(const Variable& logits, const Tensor& targets) {
  const Tensor here = checked_targets("cross_entropy", logits.value(), targets);
  check(targets.numel() > 0,
        "[cross_entropy] logits have shape {}; the mean of no rows does not "
        "exist",
        logits.shape().str());

  const double factor = 1.0 / static_cast<double>(targets.numel());
  Tensor grad_logits;
  if (needs_grad({logits})) {
    grad_logits = Tensor::empty(logits.shape(), logits.dtype(), logits.device());
  }
  const DType type = logits.dtype() == DType::f64 ? DType::f64 : DType::f32;
  Tensor loss = total_nats("cross_entropy", logits.value(), here, factor, type,
                           grad_logits.defined() ? &grad_logits : nullptr);
  return record("cross_entropy", std::move(loss), {logits},
                [grad_logits](std::span<const Tensor> grads) {
                  // Backward runs once, so the kept tensor can be handed on. It is right for a
                  // gradient of 1, which is what a loss gets.
                  Tensor result = grad_logits;
                  scale_in_place(result, grads[0]);
                  return std::vector<Tensor>{result};
                });
}

Tensor cross_entropy_sum(const Tensor& logits, const Tensor& targets) {
  const Tensor here = checked_targets("cross_entropy_sum", logits, targets);
  return total_nats("cross_entropy_sum", logits, here, 1.0, DType::f64, nullptr);
}

}  // namespace rondo
