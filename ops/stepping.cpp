#include "ops/stepping.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "core/reduce.h"
#include "core/scalar/activation.h"
#include "cuda_kernels/elementwise.h"
#include "cuda_kernels/stepping.h"
#include "ops/cpu/rows.h"
#include "ops/cpu/sru_scan.h"
#include "ops/device.h"
#include "ops/ids.h"

namespace rondo {
namespace {

// Rows of a weight that one thread takes at a time: those that share their loads of x.
constexpr std::int64_t kRows = 8;
// Weights worth a thread of their own; waking it takes about as long as reading so many.
constexpr std::int64_t kWeights = std::int64_t{1} << 15;
// Elements of the cheap loops worth a thread.
constexpr std::int64_t kElements = std::int64_t{1} << 14;

std::int64_t streams_of(const Tensor& x) { return x.size(0); }

// y = x W^T + bias on the CPU; b is null for none.
void linear_rows(const float* x, const float* w, const float* b, float* y, std::int64_t streams,
                 std::int64_t out, std::int64_t in) {
  const std::int64_t tiles = (out + kRows - 1) / kRows;
  const std::int64_t grain = kWeights / (kRows * in) + 1;
  parallel_for(0, tiles, grain, [=](std::int64_t first, std::int64_t last) {
    const std::int64_t begin = first * kRows;
    const std::int64_t end = std::min(out, last * kRows);
    cpu::rows_dot(w + begin * in, end - begin, in, x, streams, y + begin, out);
    for (std::int64_t s = 0; b != nullptr && s < streams; ++s) {
      for (std::int64_t r = begin; r < end; ++r) {
        y[s * out + r] += b[r];
      }
    }
  });
}

// LayerNorm of one row of n elements on the CPU.
void layer_norm_row(const float* x, const float* w, const float* b, float* y, std::int64_t n,
                    float eps) {
  const float mean =
      cpu::lane_sum<float>(0, n, [=](std::int64_t i) { return x[i]; }) / static_cast<float>(n);
  const float variance = cpu::lane_sum<float>(0, n,
                                              [=](std::int64_t i) {
                                                const float centred = x[i] - mean;
                                                return centred * centred;
                                              }) /
                         static_cast<float>(n);
  const float inverse = 1.0F / std::sqrt(variance + eps);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    y[i] = (x[i] - mean) * inverse * w[i] + b[i];
  }
}

}  // namespace

void linear_step(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y) {
  const std::int64_t streams = streams_of(x);
  const std::int64_t out = weight.size(0);
  const std::int64_t in = weight.size(1);
  check_shape("linear_step", "x", x, {streams, in});
  check_shape("linear_step", "y", y, {streams, out});
  if (bias.defined()) {
    check_shape("linear_step", "bias", bias, {out});
  }
  run_on(
      y.device(),
      [&] {
        linear_rows(x.data<float>(), weight.data<float>(),
                    bias.defined() ? bias.data<float>() : nullptr, y.data<float>(), streams, out,
                    in);
      },
      [&](auto stream) {
        cuda::linear_step(
            {x.device_data<float>(), weight.device_data<float>(), device_data_or_null<float>(bias),
             y.device_data<float>(), streams, out, in},
            stream);
      });
}

void layer_norm_step(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y,
                     double eps) {
  const std::int64_t n = weight.numel();
  check_shape("layer_norm_step", "x", x, {streams_of(x), n});
  check_shape("layer_norm_step", "y", y, x.shape());
  check_shape("layer_norm_step", "bias", bias, {n});
  run_on(
      y.device(),
      [&] {
        for (std::int64_t s = 0; s < streams_of(x); ++s) {
          layer_norm_row(x.data<float>() + s * n, weight.data<float>(), bias.data<float>(),
                         y.data<float>() + s * n, n, static_cast<float>(eps));
        }
      },
      [&](auto stream) {
        cuda::layer_norm_step(
            {x.device_data<float>(), weight.device_data<float>(), bias.device_data<float>(),
             y.device_data<float>(), streams_of(x), n, static_cast<float>(eps)},
            stream);
      });
}

void embedding_step(const Tensor& ids, const Tensor& weight, Tensor& y) {
  const std::int64_t d = weight.size(1);
  check_ids("embedding_step", "ids", ids, weight.size(0));
  check_shape("embedding_step", "ids", ids, {streams_of(y)});
  check_shape("embedding_step", "y", y, {streams_of(y), d});
  run_on(
      y.device(),
      [&] {
        float* to = y.data<float>();
        for (const std::int32_t id : ids.values<std::int32_t>()) {
          to = std::copy_n(weight.data<float>() + id * d, d, to);
        }
      },
      [&](auto stream) {
        cuda::embedding_step(ids.data<std::int32_t>(), weight.device_data<float>(),
                             y.device_data<float>(), streams_of(y), d, stream);
      });
}

void add_scaled_step(const Tensor& a, const Tensor& alpha, const Tensor& b, Tensor& y) {
  check_shape("add_scaled_step", "alpha", alpha, {1});
  check_shape("add_scaled_step", "b", b, a.shape());
  check_shape("add_scaled_step", "y", y, a.shape());
  run_on(
      y.device(),
      [&] {
        const float factor = alpha.data<float>()[0];
        const float* left = a.data<float>();
        const float* right = b.data<float>();
        float* to = y.data<float>();
#pragma omp simd
        for (std::int64_t i = 0; i < a.numel(); ++i) {
          to[i] = left[i] + factor * right[i];
        }
      },
      [&](auto stream) {
        cuda::add_scaled_step(a.device_data<float>(), alpha.device_data<float>(),
                              b.device_data<float>(), y.device_data<float>(), a.numel(), stream);
      });
}

void add_gelu_chunks_step(const Tensor& x, Tensor& y) {
  const std::int64_t size = y.size(1);
  const std::int64_t chunks = x.size(1) / size;
  check_shape("add_gelu_chunks_step", "x", x, {streams_of(y), chunks * size});
  run_on(
      y.device(),
      [&] {
        const float* from = x.data<float>();
        for (std::int64_t s = 0; s < streams_of(y); ++s) {
          float* to = y.data<float>() + s * size;
          for (std::int64_t c = 0; c < chunks; ++c, from += size) {
            for (std::int64_t i = 0; i < size; ++i) {
              to[i] += Gelu::value(from[i]);
            }
          }
        }
      },
      [&](auto stream) {
        cuda::add_gelu_chunks_step(x.device_data<float>(), y.device_data<float>(), streams_of(y),
                                   chunks, size, stream);
      });
}

void relu_step(Tensor& x) {
  run_on(
      x.device(),
      [&] {
        float* to = x.data<float>();
#pragma omp simd
        for (std::int64_t i = 0; i < x.numel(); ++i) {
          to[i] = Relu::value(to[i]);
        }
      },
      [&](auto stream) {
        float* to = x.device_data<float>();
        cuda::activate<Relu>(static_cast<const float*>(to), to, x.numel(), stream);
      });
}

void sru_step(const Tensor& u, const Tensor& x, const Tensor& weight_c, const Tensor& bias,
              const SruScanOptions& options, Tensor& c, Tensor& h) {
  check(!options.bidirectional,
        "[sru_step] a bidirectional layer has no next step: its other half comes from the end");
  const std::int64_t streams = streams_of(c);
  const std::int64_t units = c.size(1);
  const bool takes_x = options.has_skip_term && x.defined();
  const std::int64_t planes = options.has_skip_term && !takes_x ? 4 : 3;
  check_shape("sru_step", "u", u, {streams, planes * units});
  check_shape("sru_step", "weight_c", weight_c, {2 * units});
  check_shape("sru_step", "bias", bias, {2 * units});
  check_shape("sru_step", "h", h, c.shape());
  if (takes_x) {
    check_shape("sru_step", "x", x, c.shape());
  }
  const auto on_cpu = [&] {
    const cpu::SruVariant variant{options.activation, options.has_skip_term};
    const float* all_u = u.data<float>();
    const float* all_x = takes_x ? x.data<float>() : nullptr;
    const float* weight = weight_c.data<float>();
    const float* b = bias.data<float>();
    float* all_c = c.data<float>();
    float* all_h = h.data<float>();
    parallel_for(0, streams, kElements / units + 1, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t s = begin; s < end; ++s) {
        cpu::SruForwardRow<float> row{};
        row.u0 = all_u + s * planes * units;
        row.u1 = row.u0 + units;
        row.u2 = row.u1 + units;
        row.x = takes_x ? all_x + s * units : options.has_skip_term ? row.u2 + units : nullptr;
        row.scale_x = takes_x ? static_cast<float>(options.scale_x) : 1.0F;
        row.weight_forget = weight;
        row.weight_reset = weight + units;
        row.bias_forget = b;
        row.bias_reset = b + units;
        row.c_previous = row.c = all_c + s * units;
        row.h = all_h + s * units;
        cpu::sru_forward_row(row, units, variant);
      }
    });
  };
  run_on(c.device(), on_cpu, [&](auto stream) {
    cuda::sru_step({u.device_data<float>(), takes_x ? x.device_data<float>() : nullptr,
                    weight_c.device_data<float>(), bias.device_data<float>(),
                    c.device_data<float>(), h.device_data<float>(), streams, units, planes,
                    static_cast<float>(options.scale_x), options.activation, options.has_skip_term},
                   stream);
  });
}

}  // namespace rondo
