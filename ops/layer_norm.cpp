#include "ops/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "core/reduce.h"
#include "cuda_kernels/layer_norm.h"
#include "ops/device.h"

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

// Forward on the CPU and on a GPU: y, and of each row the statistics.
void forward_on_cpu(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                    Tensor& y, Tensor& means, Tensor& inverses) {
  dispatch_compute(x.dtype(), "layer_norm", [&]<typename T>(Type<T>) {
    normalize(x.data<T>(), weight.data<T>(), bias.data<T>(), static_cast<T>(eps), means.numel(),
              weight.numel(), y.data<T>(), means.data<T>(), inverses.data<T>());
  });
}

template <typename Stream>
void forward_on_gpu(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                    Tensor& y, Tensor& means, Tensor& inverses, Stream stream) {
  dispatch_floating(x.dtype(), "layer_norm", [&]<typename A>(Type<A>) {
    using P = ComputeType<A>;
    cuda::LayerNormForward<A> params;
    params.rows = means.numel();
    params.n = weight.numel();
    params.eps = static_cast<P>(eps);
    params.x = x.device_data<A>();
    params.weight = weight.device_data<P>();
    params.bias = bias.device_data<P>();
    params.y = y.device_data<A>();
    params.means = means.device_data<P>();
    params.inverses = inverses.device_data<P>();
    cuda::layer_norm_forward(params, stream);
  });
}

// What backward needs of forward, and which gradients are wanted.
struct Kept {
  Tensor x, weight, means, inverses;
  bool wants_x, wants_affine;
};

// The gradients of x, weight and bias; undefined where they are not wanted.
std::vector<Tensor> empty_gradients(const Kept& kept) {
  const auto like = [](bool wanted, const Tensor& tensor) {
    return wanted ? Tensor::empty(tensor.shape(), tensor.dtype(), tensor.device()) : Tensor();
  };
  return {like(kept.wants_x, kept.x), like(kept.wants_affine, kept.weight),
          like(kept.wants_affine, kept.weight)};
}

std::vector<Tensor> backward_on_cpu(const Kept& kept, const Tensor& grad_y) {
  std::vector<Tensor> result = empty_gradients(kept);
  dispatch_compute(kept.x.dtype(), "layer_norm", [&]<typename T>(Type<T>) {
    const auto data = [](Tensor& tensor) { return tensor.defined() ? tensor.data<T>() : nullptr; };
    gradients(kept.x.data<T>(), kept.weight.data<T>(), grad_y.data<T>(), kept.means.data<T>(),
              kept.inverses.data<T>(), kept.means.numel(), kept.weight.numel(), data(result[0]),
              data(result[1]), data(result[2]));
  });
  return result;
}

template <typename Stream>
std::vector<Tensor> backward_on_gpu(const Kept& kept, const Tensor& grad_y, Stream stream) {
  std::vector<Tensor> result = empty_gradients(kept);
  dispatch_floating(kept.x.dtype(), "layer_norm", [&]<typename A>(Type<A>) {
    using P = ComputeType<A>;
    cuda::LayerNormBackward<A> params;
    params.rows = kept.means.numel();
    params.n = kept.weight.numel();
    params.x = kept.x.device_data<A>();
    params.weight = kept.weight.device_data<P>();
    params.grad_y = grad_y.device_data<A>();
    params.means = kept.means.device_data<P>();
    params.inverses = kept.inverses.device_data<P>();
    if (kept.wants_x) {
      params.grad_x = result[0].device_data<A>();
    }
    Tensor partial_sums;
    if (kept.wants_affine) {
      partial_sums = Tensor::empty({cuda::layer_norm_blocks(params.rows), 2, params.n},
                                   kept.weight.dtype(), kept.weight.device());
      params.partial_sums = partial_sums.device_data<P>();
      params.grad_weight = result[1].device_data<P>();
      params.grad_bias = result[2].device_data<P>();
    }
    cuda::layer_norm_backward(params, stream);
  });
  return result;
}

}  // namespace

Variable layer_norm(const Variable& x, const Variable& weight, const Variable& bias, double eps) {
  check(x.shape().rank() >= 1 && x.shape().back() > 0,
        "[layer_norm] x has shape {}; expected (..., n) with n > 0", x.shape().str());
  const std::int64_t n = x.shape().back();
  check_shape("layer_norm", "weight", weight.value(), {n});
  check_shape("layer_norm", "bias", bias.value(), {n});
  check_parameter_kind("layer_norm", "weight", weight.value(), x.value());
  check_parameter_kind("layer_norm", "bias", bias.value(), x.value());

  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  Tensor means = Tensor::empty({x.shape().rows()}, weight.dtype(), x.device());
  Tensor inverses = Tensor::empty({x.shape().rows()}, weight.dtype(), x.device());
  run_on(
      x.device(),
      [&] { forward_on_cpu(x.value(), weight.value(), bias.value(), eps, y, means, inverses); },
      [&](auto stream) {
        forward_on_gpu(x.value(), weight.value(), bias.value(), eps, y, means, inverses, stream);
      });

  const Kept kept{x.value(), weight.value(),    means,
                  inverses,  x.requires_grad(), weight.requires_grad() || bias.requires_grad()};
  return record("layer_norm", std::move(y), {x, weight, bias},
                [kept](std::span<const Tensor> grads) {
                  std::vector<Tensor> result;
                  run_on(
                      kept.x.device(), [&] { result = backward_on_cpu(kept, grads[0]); },
                      [&](auto stream) { result = backward_on_gpu(kept, grads[0], stream); });
                  return result;
                });
}

}  // namespace rondo
