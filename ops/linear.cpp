#include "ops/linear.h"

#include "core/parallel.h"
#include "ops/cpu/gemm.h"

namespace rondo {
namespace {

using cpu::Transpose;

template <typename T>
void add_bias(const T* bias, std::int64_t rows, std::int64_t columns, T* y) {
  parallel_for(0, rows, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t column = 0; column < columns; ++column) {
        y[row * columns + column] += bias[column];
      }
    }
  });
}

// grad_bias = sum of grad_y over rows. Threads take columns, so every sum runs in row order.
template <typename T>
void bias_gradient(const T* grad_y, std::int64_t rows, std::int64_t columns, T* grad_bias) {
  parallel_for(0, columns, 64, [&](std::int64_t begin, std::int64_t end) {
    std::fill(grad_bias + begin, grad_bias + end, T(0));
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t column = begin; column < end; ++column) {
        grad_bias[column] += grad_y[row * columns + column];
      }
    }
  });
}

}  // namespace

Variable linear(const Variable& x, const Variable& weight, const Variable& bias) {
  check(weight.shape().rank() == 2, "[linear] weight has shape {}; expected (out, in)",
        weight.shape().str());
  const std::int64_t out = weight.size(0);
  const std::int64_t in = weight.size(1);
  check(x.shape().rank() >= 1 && x.shape().back() == in,
        "[linear] x has shape {}; its last size must be {}, the inputs of weight {}",
        x.shape().str(), in, weight.shape().str());
  check_same_kind("linear", "weight", weight.value(), x.value());
  if (bias.defined()) {
    check_shape("linear", "bias", bias.value(), {out});
    check_same_kind("linear", "bias", bias.value(), x.value());
  }
  require_cpu("linear", x.device());

  const std::int64_t rows = x.shape().rows();
  Tensor y = Tensor::empty(x.shape().with(-1, out), x.dtype(), x.device());
  dispatch_compute(x.dtype(), "linear", [&]<typename T>(Type<T>) {
    cpu::gemm(Transpose::no, Transpose::yes, rows, out, in, T(1), x.value().data<T>(), in,
              weight.value().data<T>(), in, T(0), y.data<T>(), out);
    if (bias.defined()) {
      add_bias(bias.value().data<T>(), rows, out, y.data<T>());
    }
  });

  const bool wants[] = {x.requires_grad(), weight.requires_grad(), bias.requires_grad()};
  return record("linear", std::move(y), {x, weight, bias},
                [=, x = x.value(), weight = weight.value()](std::span<const Tensor> grads) {
                  const Tensor& grad_y = grads[0];
                  std::vector<Tensor> result(3);
                  dispatch_compute(x.dtype(), "linear", [&]<typename T>(Type<T>) {
                    const T* gy = grad_y.data<T>();
                    if (wants[0]) {  // (rows, out) (out, in)
                      result[0] = Tensor::empty(x.shape(), x.dtype(), x.device());
                      cpu::gemm(Transpose::no, Transpose::no, rows, in, out, T(1), gy, out,
                                weight.data<T>(), in, T(0), result[0].data<T>(), in);
                    }
                    if (wants[1]) {  // (out, rows) (rows, in)
                      result[1] = Tensor::empty(weight.shape(), x.dtype(), x.device());
                      cpu::gemm(Transpose::yes, Transpose::no, out, in, rows, T(1), gy, out,
                                x.data<T>(), in, T(0), result[1].data<T>(), in);
                    }
                    if (wants[2]) {
                      result[2] = Tensor::empty({out}, x.dtype(), x.device());
                      bias_gradient(gy, rows, out, result[2].data<T>());
                    }
                  });
                  return result;
                });
}

Variable matmul(const Variable& a, const Variable& b) {
  check(a.shape().rank() == 2 && b.shape().rank() == 2 && a.size(1) == b.size(0),
        "[matmul] shapes {} and {} do not fit; expected (m, k) and (k, n)", a.shape().str(),
        b.shape().str());
  check_same_kind("matmul", "b", b.value(), a.value());
  require_cpu("matmul", a.device());

  const std::int64_t m = a.size(0);
  const std::int64_t k = a.size(1);
  const std::int64_t n = b.size(1);
  Tensor c = Tensor::empty({m, n}, a.dtype(), a.device());
  dispatch_compute(a.dtype(), "matmul", [&]<typename T>(Type<T>) {
    cpu::gemm(Transpose::no, Transpose::no, m, n, k, T(1), a.value().data<T>(), k,
              b.value().data<T>(), n, T(0), c.data<T>(), n);
  });

  const bool wants[] = {a.requires_grad(), b.requires_grad()};
  return record("matmul", std::move(c), {a, b},
                [=, a = a.value(), b = b.value()](std::span<const Tensor> grads) {
                  std::vector<Tensor> result(2);
                  dispatch_compute(a.dtype(), "matmul", [&]<typename T>(Type<T>) {
                    const T* gc = grads[0].data<T>();
                    if (wants[0]) {  // (m, n) (n, k)
                      result[0] = Tensor::empty(a.shape(), a.dtype(), a.device());
                      cpu::gemm(Transpose::no, Transpose::yes, m, k, n, T(1), gc, n, b.data<T>(), n,
                                T(0), result[0].data<T>(), k);
                    }
                    if (wants[1]) {  // (k, m) (m, n)
                      result[1] = Tensor::empty(b.shape(), b.dtype(), b.device());
                      cpu::gemm(Transpose::yes, Transpose::no, k, n, m, T(1), a.data<T>(), k, gc, n,
                                T(0), result[1].data<T>(), n);
                    }
                  });
                  return result;
                });
}

std::string_view matmul_backend() { return cpu::gemm_backend(); }

}  // namespace rondo
