#include "ops/elementwise.h"

#include "core/parallel.h"
#include "core/reduce.h"
#include "core/scalar/activation.h"
#include "cuda_kernels/elementwise.h"
#include "ops/device.h"

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

// factor * x
Tensor scaled(const Tensor& x, double factor) {
  Tensor y = empty_like(x);
  run_on(
      x.device(),
      [&] {
        dispatch_compute(x.dtype(), "scale", [&]<typename T>(Type<T>) {
          const T* from = x.data<T>();
          const T typed_factor = static_cast<T>(factor);
          fill_from(y.data<T>(), x.numel(), [=](std::int64_t i) { return typed_factor * from[i]; });
        });
      },
      [&](auto stream) {
        dispatch_floating(x.dtype(), "scale", [&]<typename T>(Type<T>) {
          cuda::scale(x.device_data<T>(), factor, y.template device_data<T>(), x.numel(), stream);
        });
      });
  return y;
}

// alpha * x, where alpha is a tensor of one element.
Tensor scaled_by(const Tensor& x, const Tensor& alpha) {
  if (!x.device().is_cuda()) {
    return scaled(x, alpha.item());
  }
  Tensor y = empty_like(x);
  run_on(
      x.device(), [] {},
      [&](auto stream) {
        dispatch_floating(x.dtype(), "scale", [&]<typename T>(Type<T>) {
          cuda::scale_by(x.device_data<T>(), alpha.device_data<ComputeType<T>>(),
                         y.template device_data<T>(), x.numel(), stream);
        });
      });
  return y;
}

// factor * (sum of x), of shape `shape`, which holds one element.
Tensor total(const Tensor& x, double factor, const Shape& shape) {
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  run_on(
      x.device(),
      [&] {
        dispatch_compute(x.dtype(), "sum", [&]<typename T>(Type<T>) {
          const T* from = x.data<T>();
          const double sum = cpu::sum(x.numel(), [=](std::int64_t i) { return from[i]; });
          *y.data<T>() = static_cast<T>(factor * sum);
        });
      },
      [&](auto stream) {
        Tensor scratch = Tensor::empty({cuda::kSumScratch}, DType::f64, x.device());
        dispatch_floating(x.dtype(), "sum", [&]<typename T>(Type<T>) {
          cuda::sum(x.device_data<T>(), factor, scratch.template device_data<double>(),
                    y.template device_data<T>(), x.numel(), stream);
        });
      });
  return y;
}

// The sum of a[i] b[i], of shape {1} and type `dtype`.
Tensor dot(const Tensor& a, const Tensor& b, DType dtype) {
  Tensor y = Tensor::empty({1}, dtype, a.device());
  run_on(
      a.device(),
      [&] {
        dispatch_compute(a.dtype(), "dot", [&]<typename T>(Type<T>) {
          const T* left = a.data<T>();
          const T* right = b.data<T>();
          *y.data<T>() = static_cast<T>(cpu::sum(a.numel(), [=](std::int64_t i) {
            return static_cast<double>(left[i]) * static_cast<double>(right[i]);
          }));
        });
      },
      [&](auto stream) {
        Tensor scratch = Tensor::empty({cuda::kSumScratch}, DType::f64, a.device());
        dispatch_floating(a.dtype(), "dot", [&]<typename T>(Type<T>) {
          cuda::dot(a.device_data<T>(), b.device_data<T>(), scratch.template device_data<double>(),
                    y.template device_data<ComputeType<T>>(), a.numel(), stream);
        });
      });
  return y;
}

// What an operation of two operands computes: function(a, b) on the CPU, and a launcher on a GPU.
struct Sum {
  double sign;  // of b

  template <typename T>
  T operator()(T a, T b) const {
    return a + static_cast<T>(sign) * b;
  }
  template <typename T>
  void launch(cuda::Operand<T> a, cuda::Operand<T> b, T* y, std::int64_t count,
              cuda::Stream stream) const {
    cuda::add_signed(a, b, sign, y, count, stream);
  }
};

struct Product {
  template <typename T>
  T operator()(T a, T b) const {
    return a * b;
  }
  template <typename T>
  void launch(cuda::Operand<T> a, cuda::Operand<T> b, T* y, std::int64_t count,
              cuda::Stream stream) const {
    cuda::multiply(a, b, y, count, stream);
  }
};

// function(a, b) element by element; an operand of one element meets every element of the other.
template <typename Function>
Tensor combine(std::string_view op, const Tensor& a, const Tensor& b, const Function& function) {
  Tensor y = empty_like(a.numel() == 1 && b.numel() != 1 ? b : a);
  const std::int64_t count = y.numel();
  run_on(
      a.device(),
      [&] {
        dispatch_compute(a.dtype(), op, [&]<typename T>(Type<T>) {
          const T* left = a.data<T>();
          const T* right = b.data<T>();
          T* out = y.data<T>();
          if (a.shape() == b.shape()) {
            fill_from(out, count, [=](std::int64_t i) { return function(left[i], right[i]); });
          } else if (b.numel() == 1) {
            fill_from(out, count, [=, c = *right](std::int64_t i) { return function(left[i], c); });
          } else {
            fill_from(out, count, [=, c = *left](std::int64_t i) { return function(c, right[i]); });
          }
        });
      },
      [&](auto stream) {
        dispatch_floating(a.dtype(), op, [&]<typename T>(Type<T>) {
          const auto operand = [&](const Tensor& tensor) {
            return cuda::Operand<T>{tensor.device_data<T>(), tensor.shape() != y.shape()};
          };
          function.launch(operand(a), operand(b), y.template device_data<T>(), count, stream);
        });
      });
  return y;
}

// The gradient of an operand from that of its every use: their sum if the operand met all elements.
Tensor reduced_to(const Shape& shape, const Tensor& grad) {
  return grad.shape() == shape ? grad : total(grad, 1.0, shape);
}

void check_operands(std::string_view op, const Variable& a, const Variable& b) {
  check(a.shape() == b.shape() || a.value().numel() == 1 || b.value().numel() == 1,
        "[{}] shapes {} and {} do not fit; expected equal shapes, or one element on one side", op,
        a.shape().str(), b.shape().str());
  check_same_kind(op, "b", b.value(), a.value());
}

// a + sign * b, where sign is 1 or -1.
Variable add_signed(std::string_view op, const Variable& a, const Variable& b, double sign) {
  check_operands(op, a, b);
  Tensor y = combine(op, a.value(), b.value(), Sum{sign});
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
  Tensor y = empty_like(x.value());
  run_on(
      x.device(),
      [&] {
        dispatch_compute(x.dtype(), op, [&]<typename T>(Type<T>) {
          const T* from = x.value().data<T>();
          fill_from(y.data<T>(), y.numel(),
                    [=](std::int64_t i) { return Function::value(from[i]); });
        });
      },
      [&](auto stream) {
        dispatch_floating(x.dtype(), op, [&]<typename T>(Type<T>) {
          cuda::activate<Function>(x.value().template device_data<T>(), y.template device_data<T>(),
                                   y.numel(), stream);
        });
      });
  const Tensor kept = Function::keeps_input ? x.value() : y;
  return record(op, y, {x}, [=](std::span<const Tensor> grads) {
    Tensor grad_x = empty_like(kept);
    run_on(
        kept.device(),
        [&] {
          dispatch_compute(kept.dtype(), op, [&]<typename T>(Type<T>) {
            const T* grad_y = grads[0].data<T>();
            const T* at = kept.data<T>();
            fill_from(grad_x.data<T>(), kept.numel(),
                      [=](std::int64_t i) { return Function::gradient(grad_y[i], at[i]); });
          });
        },
        [&](auto stream) {
          dispatch_floating(kept.dtype(), op, [&]<typename T>(Type<T>) {
            cuda::activate_gradient<Function>(grads[0].device_data<T>(), kept.device_data<T>(),
                                              grad_x.template device_data<T>(), kept.numel(),
                                              stream);
          });
        });
    return std::vector<Tensor>{grad_x};
  });
}

// factor * (sum of all elements)
Variable scaled_sum(std::string_view op, const Variable& x, double factor) {
  return record(op, total(x.value(), factor, {1}), {x},
                [=, shape = x.shape()](std::span<const Tensor> grads) {
                  const Tensor& grad = grads[0];
                  Tensor grad_x = Tensor::empty(shape, grad.dtype(), grad.device());
                  run_on(
                      grad.device(), [&] { grad_x.fill(factor * grad.item()); },
                      [&](auto stream) {
                        dispatch_floating(grad.dtype(), op, [&]<typename T>(Type<T>) {
                          cuda::spread(grad.device_data<T>(), factor,
                                       grad_x.template device_data<T>(), grad_x.numel(), stream);
                        });
                      });
                  return std::vector<Tensor>{grad_x};
                });
}

}  // namespace

Variable add(const Variable& a, const Variable& b) { return add_signed("add", a, b, 1.0); }

Variable sub(const Variable& a, const Variable& b) { return add_signed("sub", a, b, -1.0); }

Variable mul(const Variable& a, const Variable& b) {
  check_operands("mul", a, b);
  Tensor y = combine("mul", a.value(), b.value(), Product{});
  const bool wants[] = {a.requires_grad(), b.requires_grad()};
  return record("mul", std::move(y), {a, b},
                [=, a = a.value(), b = b.value()](std::span<const Tensor> grads) {
                  std::vector<Tensor> result(2);
                  if (wants[0]) {
                    result[0] = reduced_to(a.shape(), combine("mul", grads[0], b, Product{}));
                  }
                  if (wants[1]) {
                    result[1] = reduced_to(b.shape(), combine("mul", grads[0], a, Product{}));
                  }
                  return result;
                });
}

Variable scale(const Variable& x, double factor) {
  return record("scale", scaled(x.value(), factor), {x}, [=](std::span<const Tensor> grads) {
    return std::vector<Tensor>{scaled(grads[0], factor)};
  });
}

Variable add_scaled(const Variable& x, const Variable& alpha, const Variable& y) {
  check_shape("add_scaled", "alpha", alpha.value(), {1});
  check_shape("add_scaled", "y", y.value(), x.shape());
  check_parameter_kind("add_scaled", "alpha", alpha.value(), x.value());
  check_same_kind("add_scaled", "y", y.value(), x.value());

  Tensor out = empty_like(x.value());
  run_on(
      x.device(),
      [&] {
        dispatch_compute(x.dtype(), "add_scaled", [&]<typename T>(Type<T>) {
          const T* left = x.value().data<T>();
          const T* right = y.value().data<T>();
          const T factor = *alpha.value().data<T>();
          fill_from(out.data<T>(), out.numel(),
                    [=](std::int64_t i) { return left[i] + factor * right[i]; });
        });
      },
      [&](auto stream) {
        dispatch_floating(x.dtype(), "add_scaled", [&]<typename T>(Type<T>) {
          cuda::add_scaled(x.value().template device_data<T>(),
                           alpha.value().template device_data<ComputeType<T>>(),
                           y.value().template device_data<T>(), out.template device_data<T>(),
                           out.numel(), stream);
        });
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
                    result[1] = dot(grad, y, alpha.dtype());
                  }
                  if (wants[2]) {
                    result[2] = scaled_by(grad, alpha);
                  }
                  return result;
                });
}

Variable sigmoid(const Variable& x) { return activate<Sigmoid>("sigmoid", x); }

Variable tanh(const Variable& x) { return activate<Tanh>("tanh", x); }

Variable gelu(const Variable& x) { return activate<Gelu>("gelu", x); }

Variable relu(const Variable& x) { return activate<Relu>("relu", x); }

Variable sum(const Variable& x) { return scaled_sum("sum", x, 1.0); }

Variable mean(const Variable& x) {
  check(x.value().numel() > 0, "[mean] x has shape {}; the mean of no elements does not exist",
        x.shape().str());
  return scaled_sum("mean", x, 1.0 / static_cast<double>(x.value().numel()));
}

}  // namespace rondo
