#include "ops/linear.h"

#include "core/parallel.h"
#include "cuda_kernels/gemm.h"
#include "cuda_kernels/linear.h"
#include "ops/cpu/gemm.h"
#include "ops/device.h"

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
void sum_rows(const T* grad_y, std::int64_t rows, std::int64_t columns, T* grad_bias) {
  parallel_for(0, columns, 64, [&](std::int64_t begin, std::int64_t end) {
    std::fill(grad_bias + begin, grad_bias + end, T(0));
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t column = begin; column < end; ++column) {
        grad_bias[column] += grad_y[row * columns + column];
      }
    }
  });
}

// The gradient of a bias of type `dtype` from that of y (rows, columns).
Tensor bias_gradient(std::string_view op, const Tensor& grad_y, DType dtype) {
  const std::int64_t rows = grad_y.size(0);
  const std::int64_t columns = grad_y.size(1);
  Tensor grad_bias = Tensor::empty({columns}, dtype, grad_y.device());
  run_on(
      grad_y.device(),
      [&] {
        dispatch_compute(dtype, op, [&]<typename T>(Type<T>) {
          sum_rows(grad_y.data<T>(), rows, columns, grad_bias.data<T>());
        });
      },
      [&](auto stream) {
        Tensor scratch =
            Tensor::empty({cuda::column_sums_scratch(rows, columns)}, dtype, grad_y.device());
        dispatch_floating(grad_y.dtype(), op, [&]<typename T>(Type<T>) {
          using C = ComputeType<T>;
          cuda::column_sums(grad_y.device_data<T>(), rows, columns,
                            scratch.template device_data<C>(), grad_bias.template device_data<C>(),
                            stream);
        });
      });
  return grad_bias;
}

// C = op(A) op(B) + beta C + bias, where beta is 0 or 1 and bias may be undefined. The last
// dimension of a tensor counts the columns of its matrix, all others together the rows. On a GPU
// the type of A and B says how exact it is; `precision` adds only whether f32 may be TF32.
void multiply(std::string_view op, Transpose transpose_a, const Tensor& a, Transpose transpose_b,
              const Tensor& b, double beta, Tensor& c, Precision precision,
              const Tensor& bias = Tensor()) {
  const std::int64_t m = c.shape().rows();
  const std::int64_t n = c.shape().back();
  const std::int64_t k = transpose_a == Transpose::yes ? a.shape().rows() : a.shape().back();
  run_on(
      c.device(),
      [&] {
        dispatch_compute(c.dtype(), op, [&]<typename T>(Type<T>) {
          cpu::gemm(transpose_a, transpose_b, m, n, k, T(1), a.data<T>(), a.shape().back(),
                    b.data<T>(), b.shape().back(), static_cast<T>(beta), c.data<T>(), n, precision);
          if (bias.defined()) {
            add_bias(bias.data<T>(), m, n, c.data<T>());
          }
        });
      },
      [&](auto stream) {
        const Tensor typed_bias = bias.defined() ? bias.to(c.dtype()) : bias;
        const auto native = [](Transpose transpose) {
          return transpose == Transpose::yes ? cuda::Transpose::yes : cuda::Transpose::no;
        };
        cuda::Gemm product;
        product.transpose_a = native(transpose_a);
        product.transpose_b = native(transpose_b);
        product.m = m;
        product.n = n;
        product.k = k;
        product.beta = beta;
        product.operands = a.dtype();
        product.result = c.dtype();
        product.tf32 = precision == Precision::tf32;
        product.a = a.raw();
        product.lda = a.shape().back();
        product.b = b.raw();
        product.ldb = b.shape().back();
        product.c = c.raw();
        product.ldc = n;
        product.bias = typed_bias.defined() ? typed_bias.raw() : nullptr;
        cuda::gemm(product, stream);
      });
}

// The sizes of one call, and where its parts begin.
struct Product {
  std::string_view op;
  std::int64_t in, out;
  std::vector<std::int64_t> first_rows;  // of each part, and the number of all rows
  Precision precision;
  DType operands;  // what x, the weight and the gradient of y are converted to
  // How the weight lies: (out, in), which the forward product transposes, or (in, out).
  bool out_first = true;

  std::int64_t rows(std::size_t part) const { return first_rows[part + 1] - first_rows[part]; }
  std::int64_t rows() const { return first_rows.back(); }
};

Product checked(std::string_view op, std::span<const Variable> parts, const Variable& weight,
                Precision precision, bool out_first = true) {
  check(weight.shape().rank() == 2, "[{}] weight has shape {}; expected {}", op,
        weight.shape().str(), out_first ? "(out, in)" : "(in, out)");
  check(!parts.empty(), "[{}] there are no parts; expected at least one", op);
  const Variable& first = parts[0];
  const Shape& shape = first.shape();
  check(first.dtype() != DType::f64 || precision == Precision::f32,
        "[{}] products of f64 tensors are not done in {}", op, name(precision));
  check(first.device().is_cuda() || precision == Precision::f32 || precision == Precision::bf16,
        "[{}] precision {} needs a GPU; use f32 or bf16 on the CPU", op, name(precision));
  const int in = out_first ? 1 : 0;
  Product product{op,       weight.size(in), weight.size(1 - in), {0}, precision, first.dtype(),
                  out_first};
  if (first.dtype() == DType::f32) {
    product.operands = activation_type(precision, first.device());
  }
  for (const Variable& x : parts) {
    check(x.shape().rank() >= 1 && x.shape().back() == product.in,
          "[{}] x has shape {}; its last size must be {}, the inputs of weight {}", op,
          x.shape().str(), product.in, weight.shape().str());
    check(parts.size() == 1 || x.shape().with(0, 0) == shape.with(0, 0),
          "[{}] a part has shape {}; expected that of the first, {}, but for the first size", op,
          x.shape().str(), shape.str());
    check_same_kind(op, "a part", x.value(), first.value());
    check_parameter_kind(op, "weight", weight.value(), x.value());
    product.first_rows.push_back(product.rows() + x.shape().rows());
  }
  return product;
}

// y and its history; bias may be undefined.
Variable multiply_parts(const Product& product, std::span<const Variable> parts,
                        const Variable& weight, const Variable& bias) {
  const std::int64_t out = product.out;
  const Variable& first = parts.front();
  Shape shape = first.shape().with(-1, out);
  if (parts.size() > 1) {
    shape = shape.with(0, product.rows() / (first.shape().rows() / first.size(0)));
  }
  Tensor y = Tensor::empty(shape, first.dtype(), first.device());
  const Tensor w = weight.value().to(product.operands);
  std::vector<Tensor> xs;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    xs.push_back(parts[i].value().to(product.operands));
    Tensor y_part = y.reshape({product.rows(), out}).narrow(product.first_rows[i], product.rows(i));
    multiply(product.op, Transpose::no, xs[i], product.out_first ? Transpose::yes : Transpose::no,
             w, 0.0, y_part, product.precision, bias.defined() ? bias.value() : Tensor());
  }

  std::vector<Variable> inputs(parts.begin(), parts.end());
  inputs.push_back(weight);
  inputs.push_back(bias);
  std::vector<bool> wants;
  for (const Variable& input : inputs) {
    wants.push_back(input.requires_grad());
  }
  return record(product.op, std::vector<Tensor>{std::move(y)}, inputs,
                [=, x_type = first.dtype(),
                 weight_type = weight.dtype()](std::span<const Tensor> grads) {
                  const std::size_t weight_index = xs.size();
                  const Tensor grad_y = grads[0].reshape({product.rows(), product.out});
                  const Tensor gy = grad_y.to(product.operands);
                  std::vector<Tensor> result(xs.size() + 2);
                  if (wants[weight_index]) {
                    result[weight_index] = Tensor::empty(w.shape(), weight_type, w.device());
                  }
                  for (std::size_t i = 0; i < xs.size(); ++i) {
                    const Tensor gy_part = gy.narrow(product.first_rows[i], product.rows(i));
                    if (wants[i]) {  // (rows, out) (out, in)
                      result[i] = Tensor::empty(xs[i].shape(), x_type, w.device());
                      multiply(product.op, Transpose::no, gy_part,
                               product.out_first ? Transpose::no : Transpose::yes, w, 0.0,
                               result[i], product.precision);
                    }
                    if (wants[weight_index]) {  // (out, rows) (rows, in), added up over the parts
                      multiply(product.op, Transpose::yes, product.out_first ? gy_part : xs[i],
                               Transpose::no, product.out_first ? xs[i] : gy_part,
                               i == 0 ? 0.0 : 1.0, result[weight_index], product.precision);
                    }
                  }
                  if (wants[weight_index + 1]) {
                    result[weight_index + 1] = bias_gradient(product.op, grad_y, weight_type);
                  }
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
    check_parameter_kind("linear", "bias", bias.value(), x.value());
  }
  return multiply_parts(product, std::span(&x, 1), weight, bias);
}

Variable linear_of_parts(const std::vector<Variable>& parts, const Variable& weight,
                         Precision precision) {
  return multiply_parts(checked("linear_of_parts", parts, weight, precision), parts, weight,
                        Variable());
}

Variable linear_transposed(const Variable& x, const Variable& weight, Precision precision) {
  return multiply_parts(checked("linear_transposed", std::span(&x, 1), weight, precision, false),
                        std::span(&x, 1), weight, Variable());
}

Variable matmul(const Variable& a, const Variable& b) {
  check(a.shape().rank() == 2 && b.shape().rank() == 2 && a.size(1) == b.size(0),
        "[matmul] shapes {} and {} do not fit; expected (m, k) and (k, n)", a.shape().str(),
        b.shape().str());
  check_same_kind("matmul", "b", b.value(), a.value());

  const auto product = [](Transpose transpose_a, const Tensor& left, Transpose transpose_b,
                          const Tensor& right, const Shape& shape) {
    Tensor c = Tensor::empty(shape, left.dtype(), left.device());
    multiply("matmul", transpose_a, left, transpose_b, right, 0.0, c, Precision::f32);
    return c;
  };
  Tensor c = product(Transpose::no, a.value(), Transpose::no, b.value(), {a.size(0), b.size(1)});
  const bool wants[] = {a.requires_grad(), b.requires_grad()};
  return record("matmul", std::move(c), {a, b},
                [=, a = a.value(), b = b.value()](std::span<const Tensor> grads) {
                  std::vector<Tensor> result(2);
                  if (wants[0]) {  // (m, n) (n, k)
                    result[0] = product(Transpose::no, grads[0], Transpose::yes, b, a.shape());
                  }
                  if (wants[1]) {  // (k, m) (m, n)
                    result[1] = product(Transpose::yes, a, Transpose::no, grads[0], b.shape());
                  }
                  return result;
                });
}

std::string matmul_backend(Device device) {
  std::string backend;
  run_on(
      device, [&] { backend = cpu::gemm_backend(); },
      [&](auto) { backend = cuda::gemm_backend(); });
  return backend;
}

}  // namespace rondo
