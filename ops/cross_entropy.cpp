#include "ops/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/parallel.h"
#include "ops/cpu/softmax.h"
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

// The nats of all rows, added in their order; `grad` (null for none) gets the gradient of factor
// times them.
double total_nats(std::string_view op, const Tensor& logits, const Tensor& targets, double factor,
                  Tensor* grad) {
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
  return std::accumulate(nats.begin(), nats.end(), 0.0);
}

void check_arguments(std::string_view op, const Tensor& logits, const Tensor& targets) {
  check(logits.defined() && logits.shape().rank() >= 1 && logits.shape().back() > 0,
        "[{}] logits have shape {}; expected (..., V) with V > 0", op, logits.shape().str());
  const Shape& shape = logits.shape();
  check_shape(op, "targets", targets, Shape(std::span(shape.begin(), shape.end() - 1)));
  require_cpu(op, logits.device());
  check_ids(op, "targets", targets, shape.back());
}

}  // namespace

Variable cross_entropy(const Variable& logits, const Tensor& targets) {
  check_arguments("cross_entropy", logits.value(), targets);
  check(targets.numel() > 0,
        "[cross_entropy] logits have shape {}; the mean of no rows does not "
        "exist",
        logits.shape().str());

  const double factor = 1.0 / static_cast<double>(targets.numel());
  Tensor grad_logits;
  if (needs_grad({logits})) {
    grad_logits = Tensor::empty(logits.shape(), logits.dtype(), logits.device());
  }
  const double nats = total_nats("cross_entropy", logits.value(), targets, factor,
                                 grad_logits.defined() ? &grad_logits : nullptr);
  Tensor loss = Tensor::full({1}, factor * nats, logits.dtype(), logits.device());
  return record(
      "cross_entropy", std::move(loss), {logits}, [grad_logits](std::span<const Tensor> grads) {
        // Backward runs once, so the kept tensor can be handed on. It is right for a
        // gradient of 1, which is what a loss gets.
        Tensor result = grad_logits;
        const double grad = grads[0].item();
        if (grad != 1.0) {
          dispatch_compute(result.dtype(), "cross_entropy", [&]<typename T>(Type<T>) {
            T* values = result.data<T>();
            parallel_for(0, result.numel(), 1 << 15, [=](std::int64_t begin, std::int64_t end) {
              for (std::int64_t i = begin; i < end; ++i) {
                values[i] *= static_cast<T>(grad);
              }
            });
          });
        }
        return std::vector<Tensor>{result};
      });
}

double cross_entropy_sum(const Tensor& logits, const Tensor& targets) {
  check_arguments("cross_entropy_sum", logits, targets);
  return total_nats("cross_entropy_sum", logits, targets, 1.0, nullptr);
}

}  // namespace rondo
