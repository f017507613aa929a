// y = (x - mean) * inverse * weight + bias, inverse = 1 / sqrt(variance + eps), over each row.
//
// Forward reads x and writes y once; backward reads x and grad_y and writes grad_x once. Nothing
// else is as large, so both should run at the speed of memory. A block takes a row at a time, each
// thread 8 of its elements, which stay in registers through the passes over the row (mean,
// variance, result); rows of more than 4096 elements are read again in each pass instead, from
// cache where they fit.
//
// The gradients of weight and bias are sums over rows. Backward gives each block a run of rows, and
// each thread keeps the sums of its columns in registers; a second kernel adds up the blocks.
#include "cuda_kernels/layer_norm.h"

#include "core/cuda_vector.cuh"
#include "cuda_kernels/common/reduce.cuh"

namespace rondo::cuda {
namespace {

constexpr int kHeld = 8;          // elements of a row that a thread holds
constexpr int kMaxThreads = 512;  // so a thread may use 128 registers
constexpr int kMaxHeldRow = kHeld * kMaxThreads;
constexpr int kLongThreads = 1024;

// Calls body(column, k) for the vectors of W columns that this thread holds.
template <int W, typename Body>
__device__ void for_held(std::int64_t n, Body&& body) {
  for (int k = 0; k < kHeld / W; ++k) {
    const int column = (k * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * W;
    if (column < n) {
      body(column, k);
    }
  }
}

// Loads vectors of W elements where W > 1, which is allowed only on rows that take them.
template <typename A, int W>
__global__ void __launch_bounds__(kMaxThreads) forward_held_kernel(LayerNormForward<A> params) {
  using C = ComputeType<A>;
  __shared__ C scratch[kWarpSize];
  const std::int64_t row = blockIdx.x;
  const std::int64_t n = params.n;
  C x[kHeld / W][W];
  C sum = C(0);
  for_held<W>(n, [&](int column, int k) {
    load_vector<W>(params.x + row * n + column, x[k]);
    for (const C value : x[k]) {
      sum += value;
    }
  });
  const C mean = block_sum(sum, scratch) / static_cast<C>(n);
  C squares = C(0);
  for_held<W>(n, [&](int, int k) {
    for (const C value : x[k]) {
      squares += (value - mean) * (value - mean);
    }
  });
  const C variance = block_sum(squares, scratch) / static_cast<C>(n);
  const C inverse = C(1) / std::sqrt(variance + params.eps);
  if (threadIdx.x == 0) {
    params.means[row] = mean;
    params.inverses[row] = inverse;
  }
  for_held<W>(n, [&](int column, int k) {
    C weight[W];
    C bias[W];
    load_vector<W>(params.weight + column, weight);
    load_vector<W>(params.bias + column, bias);
    for (int i = 0; i < W; ++i) {
      x[k][i] = (x[k][i] - mean) * inverse * weight[i] + bias[i];
    }
    store_vector<W>(x[k], params.y + row * n + column);
  });
}

template <typename A>
__global__ void __launch_bounds__(kLongThreads) forward_long_kernel(LayerNormForward<A> params) {
  using C = ComputeType<A>;
  __shared__ C scratch[kWarpSize];
  const std::int64_t row = blockIdx.x;
  const std::int64_t n = params.n;
  const A* x = params.x + row * n;
  C sum = C(0);
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    sum += to_compute(x[i]);
  }
  const C mean = block_sum(sum, scratch) / static_cast<C>(n);
  C squares = C(0);
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    const C centred = to_compute(x[i]) - mean;
    squares += centred * centred;
  }
  const C variance = block_sum(squares, scratch) / static_cast<C>(n);
  const C inverse = C(1) / std::sqrt(variance + params.eps);
  if (threadIdx.x == 0) {
    params.means[row] = mean;
    params.inverses[row] = inverse;
  }
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    params.y[row * n + i] =
        convert_element<A>((to_compute(x[i]) - mean) * inverse * params.weight[i] + params.bias[i]);
  }
}

// The run of rows that this block takes.
template <typename A>
__device__ std::int64_t first_row(const LayerNormBackward<A>& params, std::int64_t block) {
  return params.rows * block / gridDim.x;
}

// With z = (x - mean) * inverse and g = grad_y * weight,
// grad_x = inverse * (g - mean(g) - z * mean(g z)).
template <typename A, int W>
__global__ void __launch_bounds__(kMaxThreads) backward_held_kernel(LayerNormBackward<A> params) {
  using C = ComputeType<A>;
  __shared__ C scratch[2 * kWarpSize];
  const std::int64_t n = params.n;
  C weight[kHeld / W][W];
  C weight_sum[kHeld / W][W] = {};
  C bias_sum[kHeld / W][W] = {};
  for_held<W>(n, [&](int column, int k) { load_vector<W>(params.weight + column, weight[k]); });

  const std::int64_t end = first_row(params, blockIdx.x + std::int64_t{1});
  for (std::int64_t row = first_row(params, blockIdx.x); row < end; ++row) {
    const C mean = params.means[row];
    const C inverse = params.inverses[row];
    C z[kHeld / W][W];
    C g[kHeld / W][W];
    C sums[2] = {};  // of g and of g z
    for_held<W>(n, [&](int column, int k) {
      load_vector<W>(params.x + row * n + column, z[k]);
      load_vector<W>(params.grad_y + row * n + column, g[k]);
      for (int i = 0; i < W; ++i) {
        z[k][i] = (z[k][i] - mean) * inverse;
        weight_sum[k][i] += g[k][i] * z[k][i];
        bias_sum[k][i] += g[k][i];
        g[k][i] *= weight[k][i];
        sums[0] += g[k][i];
        sums[1] += g[k][i] * z[k][i];
      }
    });
    if (params.grad_x != nullptr) {
      block_sums(sums, scratch);
      const C mean_g = sums[0] / static_cast<C>(n);
      const C mean_gz = sums[1] / static_cast<C>(n);
      for_held<W>(n, [&](int column, int k) {
        for (int i = 0; i < W; ++i) {
          g[k][i] = inverse * (g[k][i] - mean_g - z[k][i] * mean_gz);
        }
        store_vector<W>(g[k], params.grad_x + row * n + column);
      });
    }
  }
  if (params.partial_sums != nullptr) {
    C* weight_to = params.partial_sums + blockIdx.x * 2 * n;
    for_held<W>(n, [&](int column, int k) {
      for (int i = 0; i < W; ++i) {
        weight_to[column + i] = weight_sum[k][i];
        weight_to[n + column + i] = bias_sum[k][i];
      }
    });
  }
}

// Keeps the sums of its columns in partial_sums instead; a thread meets only its own.
template <typename A>
__global__ void __launch_bounds__(kLongThreads) backward_long_kernel(LayerNormBackward<A> params) {
  using C = ComputeType<A>;
  __shared__ C scratch[2 * kWarpSize];
  const std::int64_t n = params.n;
  C* weight_to =
      params.partial_sums == nullptr ? nullptr : params.partial_sums + blockIdx.x * 2 * n;
  const std::int64_t begin = first_row(params, blockIdx.x);
  const std::int64_t end = first_row(params, blockIdx.x + std::int64_t{1});
  for (std::int64_t i = threadIdx.x; weight_to != nullptr && i < n; i += blockDim.x) {
    weight_to[i] = C(0);
    weight_to[n + i] = C(0);
  }
  for (std::int64_t row = begin; row < end; ++row) {
    const A* x = params.x + row * n;
    const A* grad_y = params.grad_y + row * n;
    const C mean = params.means[row];
    const C inverse = params.inverses[row];
    C sums[2] = {};
    for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) {
      const C z = (to_compute(x[i]) - mean) * inverse;
      const C grad = to_compute(grad_y[i]);
      if (weight_to != nullptr) {
        weight_to[i] += grad * z;
        weight_to[n + i] += grad;
      }
      const C g = grad * params.weight[i];
      sums[0] += g;
      sums[1] += g * z;
    }
    if (params.grad_x != nullptr) {
      block_sums(sums, scratch);
      const C mean_g = sums[0] / static_cast<C>(n);
      const C mean_gz = sums[1] / static_cast<C>(n);
      for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) {
        const C z = (to_compute(x[i]) - mean) * inverse;
        const C g = to_compute(grad_y[i]) * params.weight[i];
        params.grad_x[row * n + i] = convert_element<A>(inverse * (g - mean_g - z * mean_gz));
      }
    }
  }
}

// grad_weight and grad_bias from the sums of all blocks. A block takes 32 of the 2n columns, one a
// lane; its warps take every 32nd row each, and the first warp adds them up.
template <typename C>
__global__ void __launch_bounds__(kWarpSize* kWarpSize)
    add_blocks_kernel(const C* partial_sums, std::int64_t blocks, std::int64_t n, C* grad_weight,
                      C* grad_bias) {
  __shared__ C sums[kWarpSize][kWarpSize];
  const std::int64_t column = std::int64_t{blockIdx.x} * kWarpSize + lane_index();
  C sum = C(0);
  if (column < 2 * n) {
    for (std::int64_t block = warp_index(); block < blocks; block += kWarpSize) {
      sum += partial_sums[block * 2 * n + column];
    }
  }
  sums[warp_index()][lane_index()] = sum;
  __syncthreads();
  if (warp_index() == 0 && column < 2 * n) {
    for (int warp = 1; warp < kWarpSize; ++warp) {
      sum += sums[warp][lane_index()];
    }
    (column < n ? grad_weight : grad_bias - n)[column] = sum;
  }
}

// Calls body with the number of elements that a vector of A may have: all pointers, to A and to
// parameters, must be aligned, and rows hold whole vectors.
template <typename A, typename Body>
void with_width(bool vectors, Body&& body) {
  if (vectors) {
    body(std::integral_constant<int, vector_size<A>>());
  } else {
    body(std::integral_constant<int, 1>());
  }
}

}  // namespace

template <typename A>
void layer_norm_forward(const LayerNormForward<A>& params, Stream stream) {
  constexpr const char* kOp = "layer_norm";
  const std::int64_t n = params.n;
  if (params.rows == 0) {
    return;
  }
  const dim3 blocks(static_cast<unsigned>(params.rows));
  if (n > kMaxHeldRow) {
    launch(kOp, forward_long_kernel<A>, Grid{blocks, dim3(kLongThreads)}, stream, params);
    return;
  }
  const dim3 threads(static_cast<unsigned>(threads_for((n + kHeld - 1) / kHeld)));
  with_width<A>(takes_vectors(params.x, n) && takes_vectors(params.y, n) &&
                    takes_vectors(params.weight, n) && takes_vectors(params.bias, n),
                [&](auto width) {
                  launch(kOp, forward_held_kernel<A, decltype(width)::value>, Grid{blocks, threads},
                         stream, params);
                });
}

std::int64_t layer_norm_blocks(std::int64_t rows) {
  // 16 rows a block keep the partial sums small beside x; the limit bounds the second kernel.
  return std::clamp<std::int64_t>((rows + 15) / 16, 1, 1024);
}

template <typename A>
void layer_norm_backward(const LayerNormBackward<A>& params, Stream stream) {
  constexpr const char* kOp = "layer_norm backward";
  const std::int64_t n = params.n;
  const std::int64_t count = layer_norm_blocks(params.rows);
  const dim3 blocks(static_cast<unsigned>(count));
  if (n > kMaxHeldRow) {
    launch(kOp, backward_long_kernel<A>, Grid{blocks, dim3(kLongThreads)}, stream, params);
  } else {
    const dim3 threads(static_cast<unsigned>(threads_for((n + kHeld - 1) / kHeld)));
    with_width<A>(takes_vectors(params.x, n) && takes_vectors(params.grad_y, n) &&
                      takes_vectors(params.grad_x, n) && takes_vectors(params.weight, n),
                  [&](auto width) {
                    launch(kOp, backward_held_kernel<A, decltype(width)::value>,
                           Grid{blocks, threads}, stream, params);
                  });
  }
  if (params.grad_weight != nullptr) {
    const std::int64_t tiles = (2 * n + kWarpSize - 1) / kWarpSize;
    launch(kOp, add_blocks_kernel<ComputeType<A>>,
           Grid{dim3(static_cast<unsigned>(tiles)), dim3(kWarpSize * kWarpSize)}, stream,
           params.partial_sums, count, n, params.grad_weight, params.grad_bias);
  }
}

template void layer_norm_forward(const LayerNormForward<float>&, Stream);
template void layer_norm_forward(const LayerNormForward<double>&, Stream);
template void layer_norm_forward(const LayerNormForward<bfloat16>&, Stream);
template void layer_norm_forward(const LayerNormForward<float16>&, Stream);

template void layer_norm_backward(const LayerNormBackward<float>&, Stream);
template void layer_norm_backward(const LayerNormBackward<double>&, Stream);
template void layer_norm_backward(const LayerNormBackward<bfloat16>&, Stream);
template void layer_norm_backward(const LayerNormBackward<float16>&, Stream);

}  // namespace rondo::cuda
