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

// The sizes of one call, and where its parts begin.
struct Product {
  std::string_view op;
  std::int64_t in, out;
  std::vector<std::int64_t> first_rows;  // of each part, and the number of all rows
  Precision precision;

  std::int64_t rows(std::size_t part) const { return first_rows[part + 1] - first_rows[part]; }
  std::int64_t rows() const { return first_rows.back(); }
};

Product checked(std::string_view op, std::span<const Variable> parts, const Variable& weight,
                Precision precision) {
  check(weight.shape().rank() == 2, "[{}] weight has shape {}; expected (out, in)", op,
        weight.shape().str());
  check(!parts.empty(), "[{}] there are no parts; expected at least one", op);
  Product product{op, weight.size(1), weight.size(0), {0}, precision};
  const Shape& shape = parts[0].shape();
  for (const Variable& x : parts) {
    check(x.shape().rank() >= 1 && x.shape().back() == product.in,
          "[{}] x has shape {}; its last size must be {}, the inputs of weight {}", op,
          x.shape().str(), product.in, weight.shape().str());
    check(parts.size() == 1 || x.shape().with(0, 0) == shape.with(0, 0),
          "[{}] a part has shape {}; expected that of the first, {}, but for the first size", op,
          x.shape().str(), shape.str());
    check_same_kind(op, "weight", weight.value(), x.value());
    require_cpu(op, x.device());
    product.first_rows.push_back(product.rows() + x.shape().rows());
  }
  return product;
}

// y and its history; bias may be undefined.
Variable multiply(const Product& product, std::span<const Variable> parts, const Variable& weight,
                  const Variable& bias) {
  const std::int64_t in = product.in;
  const std::int64_t out = product.out;
  const Variable& first = parts.front();
  Shape shape = first.shape().with(-1, out);
  if (parts.size() > 1) {
    shape = shape.with(0, product.rows() / (first.shape().rows() / first.size(0)));
  }
  Tensor y = Tensor::empty(shape, first.dtype(), first.device());
  dispatch_compute(first.dtype(), product.op, [&]<typename T>(Type<T>) {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      cpu::gemm(Transpose::no, Transpose::yes, product.rows(i), out, in, T(1),
                parts[i].value().data<T>(), in, weight.value().data<T>(), in, T(0),
                y.data<T>() + product.first_rows[i] * out, out, product.precision);
    }
    if (bias.defined()) {
      add_bias(bias.value().data<T>(), product.rows(), out, y.data<T>());
    }
  });

  std::vector<Variable> inputs(parts.begin(), parts.end());
  inputs.push_back(weight);
  inputs.push_back(bias);
  std::vector<bool> wants;
  std::vector<Tensor> xs;
  for (const Variable& input : inputs) {
    wants.push_back(input.requires_grad());
  }
  for (const Variable& part : parts) {
    xs.push_back(part.value());
  }
  return record(product.op, std::vector<Tensor>{std::move(y)}, inputs,
                [=, weight = weight.value()](std::span<const Tensor> grads) {
                  std::vector<Tensor> result(xs.size() + 2);
                  dispatch_compute(weight.dtype(), product.op, [&]<typename T>(Type<T>) {
                    const T* gy = grads[0].data<T>();
                    if (wants[xs.size()]) {
                      result[xs.size()] =
                          Tensor::empty(weight.shape(), weight.dtype(), weight.device());
                    }
                    for (std::size_t i = 0; i < xs.size(); ++i) {
                      const std::int64_t rows = product.rows(i);
                      const T* gy_part = gy + product.first_rows[i] * out;
                      if (wants[i]) {  // (rows, out) (out, in)
                        result[i] = Tensor::empty(xs[i].shape(), weight.dtype(), weight.device());
                        cpu::gemm(Transpose::no, Transpose::no, rows, in, out, T(1), gy_part, out,
                                  weight.data<T>(), in, T(0), result[i].template data<T>(), in,
                                  product.precision);
                      }
                      if (wants[xs.size()]) {  // (out, rows) (rows, in), added up over the parts
                        cpu::gemm(Transpose::yes, Transpose::no, out, in, rows, T(1), gy_part, out,
                                  xs[i].template data<T>(), in, i == 0 ? T(0) : T(1),
                                  result[xs.size()].template data<T>(), in, product.precision);
                      }
                    }
                    if (wants[xs.size() + 1]) {
                      result[xs.size() + 1] = Tensor::empty({out}, weight.dtype(), weight.device());
                      bias_gradient(gy, product.rows(), out,
                                    result[xs.size() + 1].template data<T>());
                    }
                  });
                  return result;
                })
      .front();
}

}  // namespace

Variable linear(const Variable& x, const Variable& weight, const Variable& bias,
                Precision precision) {
  const Product product = checked("linear", std::span(&x, 1), weight, precision);
  if (bias.defined()) {
    check_shape("linear", "bias", bias.value(), {product.out});
    check_same_kind("linear", "bias", bias.value(), x.value());
  }
  return multiply(product, std::span(&x, 1), weight, bias);
}

Variable linear_of_parts(const std::vector<Variable>& parts, const Variable& weight,
                         Precision precision) {
  return multiply(checked("linear_of_parts", parts, weight, precision), parts, weight, Variable());
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
