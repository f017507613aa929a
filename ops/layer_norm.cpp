#include "ops/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "core/reduce.h"

namespace rondo {
namespace {

// y and, for backward, the statistics of each row: its mean and 1 / sqrt(variance + eps). A row is
// read three times, but only once from memory.
template <typename T>
void normalize(const T* x, const T* weight, const T* bias, T eps, std::int64_t rows, std::int64_t n,
               T* y, T* means, T* inverses) {
  const std::int64_t grain = (std::int64_t{1} << 14) / n;
  parallel_for(0, rows, grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const T* in = x + row * n;
      T* out = y + row * n;
      const T mean = cpu::lane_sum<T>(0, n, [=](std::int64_t i) { return in[i]; }) / T(n);
      const T variance = cpu::lane_sum<T>(0, n,
                                          [=](std::int64_t i) {
                                            const T centred = in[i] - mean;
                                            return centred * centred;
                                          }) /
                         T(n);
      const T inverse = T(1) / std::sqrt(variance + eps);
      means[row] = mean;
      inverses[row] = inverse;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) {
        out[i] = (in[i] - mean) * inverse * weight[i] + bias[i];
      }
    }
  });
}

// One row of the gradient of x. With z = (x - mean) * inverse and g = grad_y * weight,
// grad_x = inverse * (g - mean(g) - z * mean(g z)).
template <typename T>
void input_gradient(const T* x, const T* weight, const T* grad_y, T mean, T inverse, std::int64_t n,
                    T* grad_x) {
  const T mean_g =
      cpu::lane_sum<T>(0, n, [=](std::int64_t i) { return grad_y[i] * weight[i]; }) / T(n);
  const T mean_gz =
      cpu::lane_sum<T>(
          0, n, [=](std::int64_t i) { return grad_y[i] * weight[i] * ((x[i] - mean) * inverse); }) /
      T(n);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    grad_x[i] = inverse * (grad_y[i] * weight[i] - mean_g - (x[i] - mean) * inverse * mean_gz);
  }
}

// The rows are cut into at most this many blocks of at least kBlockRows, whatever the thread count.
// Each block has its own sums for the gradients of weight and bias.
constexpr std::int64_t kMaxBlocks = 64;
constexpr std::int64_t kBlockRows = 16;

// All three gradients in one pass over x and grad_y; grad_x may be null, and so may grad_weight and
// grad_bias together.
template <typename T>
void gradients(const T* x, const T* weight, const T* grad_y, const T* means, const T* inverses,
               std::int64_t rows, std::int64_t n, T* grad_x, T* grad_weight, T* grad_bias) {
  const std::int64_t blocks =
      std::clamp<std::int64_t>((rows + kBlockRows - 1) / kBlockRows, 1, kMaxBlocks);
  Tensor sums;  // of block b: rows 2b for weight and 2b + 1 for bias
  T* sums_data = nullptr;
  if (grad_weight != nullptr) {
    sums = Tensor::zeros({2 * blocks, n}, dtype_of<T>);
    sums_data = sums.data<T>();
  }
  parallel_for(0, blocks, 1, [=](std::int64_t first, std::int64_t last) {
    for (std::int64_t block = first; block < last; ++block) {
      for (std::int64_t row = rows * block / blocks; row < rows * (block + 1) / blocks; ++row) {
        const T* in = x + row * n;
        const T* grad = grad_y + row * n;
        const T mean = means[row];
        const T inverse = inverses[row];
        if (grad_x != nullptr) {
          input_gradient(in, weight, grad, mean, inverse, n, grad_x + row * n);
        }
        if (sums_data != nullptr) {
          T* weight_sum = sums_data + 2 * block * n;
          T* bias_sum = weight_sum + n;
#pragma omp simd
          for (std::int64_t i = 0; i < n; ++i) {
            weight_sum[i] += grad[i] * ((in[i] - mean) * inverse);
            bias_sum[i] += grad[i];
          }
        }
      }
    }
  });
  if (grad_weight != nullptr) {
    std::copy_n(sums_data, n, grad_weight);
    std::copy_n(sums_data + n, n, grad_bias);
    for (std::int64_t block = 1; block < blocks; ++block) {
      const T* weight_sum = sums_data + 2 * block * n;
      const T* bias_sum = weight_sum + n;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) {
        grad_weight[i] += weight_sum[i];
        grad_bias[i] += bias_sum[i];
      }
    }
  }
}

}  // namespace

Variable layer_norm(const Variable& x, const Variable& weight, const Variable& bias, double eps) {
  check(x.shape().rank() >= 1 && x.shape().back() > 0,
        "[layer_norm] x has shape {}; expected (..., n) with n > 0", x.shape().str());
  const std::int64_t n = x.shape().back();
  check_shape("layer_norm", "weight", weight.value(), {n});
  check_shape("layer_norm", "bias", bias.value(), {n});
  check_same_kind("layer_norm", "weight", weight.value(), x.value());
  check_same_kind("layer_norm", "bias", bias.value(), x.value());
  require_cpu("layer_norm", x.device());

  const std::int64_t rows = x.shape().rows();
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  Tensor means = Tensor::empty({rows}, x.dtype(), x.device());
  Tensor inverses = Tensor::empty({rows}, x.dtype(), x.device());
  dispatch_compute(x.dtype(), "layer_norm", [&]<typename T>(Type<T>) {
    normalize(x.value().data<T>(), weight.value().data<T>(), bias.value().data<T>(),
              static_cast<T>(eps), rows, n, y.data<T>(), means.data<T>(), inverses.data<T>());
  });

  const bool wants_x = x.requires_grad();
  const bool wants_affine = weight.requires_grad() || bias.requires_grad();
  return record("layer_norm", std::move(y), {x, weight, bias},
                [=, x = x.value(), weight = weight.value()](std::span<const Tensor> grads) {
                  std::vector<Tensor> result(3);
                  dispatch_compute(x.dtype(), "layer_norm", [&]<typename T>(Type<T>) {
                    const auto allocate = [&](bool wanted, const Tensor& like, Tensor& grad) {
                      if (wanted) {
                        grad = Tensor::empty(like.shape(), like.dtype(), like.device());
                      }
                      return wanted ? grad.data<T>() : nullptr;
                    };
                    T* grad_x = allocate(wants_x, x, result[0]);
                    T* grad_weight = allocate(wants_affine, weight, result[1]);
                    T* grad_bias = allocate(wants_affine, weight, result[2]);
                    gradients(x.data<T>(), weight.data<T>(), grads[0].data<T>(), means.data<T>(),
                              inverses.data<T>(), rows, n, grad_x, grad_weight, grad_bias);
                  });
                  return result;
                });
}

}  // namespace rondo
