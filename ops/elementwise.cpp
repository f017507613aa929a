#include "ops/elementwise.h"

#include "core/parallel.h"
#include "core/reduce.h"
#include "core/scalar/activation.h"

namespace rondo {
namespace {

constexpr std::int64_t kGrain =
    1 << 15;  // elements below which a second thread costs more than it gives

// y[i] = function(i) for every i.
template <typename T, typename Function>
void fill_from(T* y, std::int64_t count, const Function& function) {
  parallel_for(0, count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      y[i] = function(i);
    }
  });
}

Tensor empty_like(const Tensor& tensor) {
  return Tensor::empty(tensor.shape(), tensor.dtype(), tensor.device());
}

Tensor scaled(const Tensor& x, double factor) {
  Tensor y = empty_like(x);
  dispatch_compute(x.dtype(), "scale", [&]<typename T>(Type<T>) {
    const T* from = x.data<T>();
    const T typed_factor = static_cast<T>(factor);
    fill_from(y.data<T>(), x.numel(), [=](std::int64_t i) { return typed_factor * from[i]; });
  });
  return y;
}

double total(const Tensor& x) {
  return dispatch_compute(x.dtype(), "sum", [&]<typename T>(Type<T>) {
    const T* from = x.data<T>();
    return cpu::sum(x.numel(), [=](std::int64_t i) { return from[i]; });
  });
}

double dot(const Tensor& a, const Tensor& b) {
  return dispatch_compute(a.dtype(), "dot", [&]<typename T>(Type<T>) {
    const T* left = a.data<T>();
    const T* right = b.data<T>();
    return cpu::sum(a.numel(), [=](std::int64_t i) {
      return static_cast<double>(left[i]) * static_cast<double>(right[i]);
    });
  });
}

// function(a, b) element by element; an operand of one element meets every element of the other.
template <typename Function>
Tensor combine(std::string_view op, const Tensor& a, const Tensor& b, const Function& function) {
  Tensor y = empty_like(a.numel() == 1 && b.numel() != 1 ? b : a);
  dispatch_compute(a.dtype(), op, [&]<typename T>(Type<T>) {
    const T* left = a.data<T>();
    const T* right = b.data<T>();
    T* out = y.data<T>();
    const std::int64_t count = y.numel();
    if (a.shape() == b.shape()) {
      fill_from(out, count, [=](std::int64_t i) { return function(left[i], right[i]); });
    } else if (b.numel() == 1) {
      fill_from(out, count, [=, c = *right](std::int64_t i) { return function(left[i], c); });
    } else {
      fill_from(out, count, [=, c = *left](std::int64_t i) { return function(c, right[i]); });
    }
  });
  return y;
}

// The gradient of an operand from that of its every use: their sum if the operand met all elements.
Tensor reduced_to(const Shape& shape, const Tensor& grad) {
  if (grad.shape() == shape) {
    return grad;
  }
  return Tensor::full(shape, total(grad), grad.dtype(), grad.device());
}

void check_operands(std::string_view op, const Variable& a, const Variable& b) {
  check(a.shape() == b.shape() || a.value().numel() == 1 || b.value().numel() == 1,
        "[{}] shapes {} and {} do not fit; expected equal shapes, or one element on one side", op,
        a.shape().str(), b.shape().str());
  check_same_kind(op, "b", b.value(), a.value());
  require_cpu(op, a.device());
}

// a + sign * b, where sign is 1 or -1.
Variable add_signed(std::string_view op, const Variable& a, const Variable& b, double sign) {
  check_operands(op, a, b);
  Tensor y = combine(op, a.value(), b.value(), [sign](auto left, auto right) {
    return left + static_cast<decltype(right)>(sign) * right;
  });
  const bool wants[] = {a.requires_grad(), b.requires_grad()};
  return record(op, std::move(y), {a, b},
                [=, shape_a = a.shape(), shape_b = b.shape()](std::span<const Tensor> grads) {
                  std::vector<Tensor> result(2);
                  if (wants[0]) {
                    result[0] = reduced_to(shape_a, grads[0]);
                  }
                  if (wants[1]) {
                    // The same elements must not be handed on twice.
                    const bool free = sign == 1.0 && !wants[0];
                    result[1] = reduced_to(shape_b, free ? grads[0] : scaled(grads[0], sign));
                  }
                  return result;
                });
}

template <typename Function>
Variable activate(std::string_view op, const Variable& x) {
  require_cpu(op, x.device());
  Tensor y = empty_like(x.value());
  dispatch_compute(x.dtype(), op, [&]<typename T>(Type<T>) {
    const T* from = x.value().data<T>();
    fill_from(y.data<T>(), y.numel(), [=](std::int64_t i) { return Function::value(from[i]); });
  });
  return record(op, y, {x}, [=](std::span<const Tensor> grads) {
    Tensor grad_x = empty_like(y);
    dispatch_compute(y.dtype(), op, [&]<typename T>(Type<T>) {
      const T* grad_y = grads[0].data<T>();
      const T* value = y.data<T>();
      fill_from(grad_x.data<T>(), y.numel(),
                [=](std::int64_t i) { return grad_y[i] * Function::derivative(value[i]); });
    });
    return std::vector<Tensor>{grad_x};
  });
}

// factor * (sum of all elements)
Variable scaled_sum(std::string_view op, const Variable& x, double factor) {
  require_cpu(op, x.device());
  Tensor y = Tensor::full({1}, factor * total(x.value()), x.dtype(), x.device());
  return record(op, std::move(y), {x},
                [=, shape = x.shape(), device = x.device()](std::span<const Tensor> grads) {
                  return std::vector<Tensor>{
                      Tensor::full(shape, factor * grads[0].item(), grads[0].dtype(), device)};
                });
}

}  // namespace

Variable add(const Variable& a, const Variable& b) { return add_signed("add", a, b, 1.0); }

Variable sub(const Variable& a, const Variable& b) { return add_signed("sub", a, b, -1.0); }

Variable mul(const Variable& a, const Variable& b) {
  check_operands("mul", a, b);
  constexpr auto kProduct = [](auto x, auto z) { return x * z; };
  Tensor y = combine("mul", a.value(), b.value(), kProduct);
  const bool wants[] = {a.requires_grad(), b.requires_grad()};
  return record("mul", std::move(y), {a, b},
                [=, a = a.value(), b = b.value()](std::span<const Tensor> grads) {
                  std::vector<Tensor> result(2);
                  if (wants[0]) {
                    result[0] = reduced_to(a.shape(), combine("mul", grads[0], b, kProduct));
                  }
                  if (wants[1]) {
                    result[1] = reduced_to(b.shape(), combine("mul", grads[0], a, kProduct));
                  }
                  return result;
                });
}

Variable scale(const Variable& x, double factor) {
  require_cpu("scale", x.device());
  return record("scale", scaled(x.value(), factor), {x}, [=](std::span<const Tensor> grads) {
    return std::vector<Tensor>{scaled(grads[0], factor)};
  });
}

Variable add_scaled(const Variable& x, const Variable& alpha, const Variable& y) {
  check_shape("add_scaled", "alpha", alpha.value(), {1});
  check_shape("add_scaled", "y", y.value(), x.shape());
  check_same_kind("add_scaled", "alpha", alpha.value(), x.value());
  check_same_kind("add_scaled", "y", y.value(), x.value());
  require_cpu("add_scaled", x.device());

  Tensor out = empty_like(x.value());
  dispatch_compute(x.dtype(), "add_scaled", [&]<typename T>(Type<T>) {
    const T* left = x.value().data<T>();
    const T* right = y.value().data<T>();
    const T factor = *alpha.value().data<T>();
    fill_from(out.data<T>(), out.numel(),
              [=](std::int64_t i) { return left[i] + factor * right[i]; });
  });

  const bool wants[] = {x.requires_grad(), alpha.requires_grad(), y.requires_grad()};
  return record("add_scaled", std::move(out), {x, alpha, y},
                [=, alpha = alpha.value(), y = y.value()](std::span<const Tensor> grads) {
                  const Tensor& grad = grads[0];
                  std::vector<Tensor> result(3);
                  if (wants[0]) {
                    result[0] = grad;
                  }
                  if (wants[1]) {
                    result[1] = Tensor::full({1}, dot(grad, y), y.dtype(), y.device());
                  }
                  if (wants[2]) {
                    result[2] = scaled(grad, alpha.item());
                  }
                  return result;
                });
}

Variable sigmoid(const Variable& x) { return activate<Sigmoid>("sigmoid", x); }

Variable tanh(const Variable& x) { return activate<Tanh>("tanh", x); }

Variable sum(const Variable& x) { return scaled_sum("sum", x, 1.0); }

Variable mean(const Variable& x) {
  check(x.value().numel() > 0, "[mean] x has shape {}; the mean of no elements does not exist",
        x.shape().str());
  return scaled_sum("mean", x, 1.0 / static_cast<double>(x.value().numel()));
}

}  // namespace rondo
