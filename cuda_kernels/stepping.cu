// One position of a batch of streams: y = x W^T + b above all, and elementwise work around it.
//
// The product must read W, 4 * out * in bytes, once for all streams; everything else is small and
// mostly in a cache. A warp takes one row of W, or two where several streams share it: lanes read
// 512 neighbouring bytes at a time, eight such loads under way, and multiply them with the same
// part of every stream's x, which the warps of a multiprocessor find in its L1 cache. Two rows
// halve those reads of x, which would else be slower than the rows from memory. Blocks are small,
// so that matrices of a few hundred rows still reach all multiprocessors. Up to 16 streams share
// one reading of W; more go in tiles of 16.
#include "cuda_kernels/stepping.h"

#include "core/scalar/activation.h"
#include "core/scalar/lstm_step.h"
#include "cuda_kernels/common/rows_dot.cuh"

namespace rondo::cuda {
namespace {

constexpr int kLinearWarps = 2;  // of a block
constexpr int kNormThreads = 256;
constexpr int kIds = 256;  // ids that one launch takes along

// Blocks of linear_step that a multiprocessor shall have room for, 0 for as the compiler likes.
// Left alone it would rather save registers than have many loads under way; with many streams it
// needs the registers for their sums.
constexpr int linear_step_blocks(int streams) { return streams <= 4 ? 8 : 0; }

template <int kRows, int kStreams, bool vectors>
__global__ void __launch_bounds__(kLinearWarps* kWarpSize, linear_step_blocks(kStreams))
    linear_step_kernel(LinearStep step) {
  const int lane = lane_index();
  const std::int64_t first_row =
      (static_cast<std::int64_t>(blockIdx.x) * kLinearWarps + warp_index()) * kRows;
  const std::int64_t first_stream = static_cast<std::int64_t>(blockIdx.y) * kStreams;
  if (first_row >= step.out) {
    return;  // with the whole warp
  }
  // What lies beyond the last row or stream repeats it, and is not kept.
  const float* rows[kRows];
  for (int r = 0; r < kRows; ++r) {
    rows[r] = step.weight + min(first_row + r, step.out - 1) * step.in;
  }
  const float* x[kStreams];
  for (int s = 0; s < kStreams; ++s) {
    x[s] = step.x + min(first_stream + s, step.streams - 1) * step.in;
  }
  float sums[kRows][kStreams];
  rows_dot<vectors>(rows, x, step.in, sums);

  // Every lane writes one result.
  static_assert(kRows * kStreams <= kWarpSize);
  float mine = 0.0F;
  for (int r = 0; r < kRows; ++r) {
    for (int s = 0; s < kStreams; ++s) {
      mine = lane == r * kStreams + s ? sums[r][s] : mine;
    }
  }
  const std::int64_t row = first_row + lane / kStreams;
  const std::int64_t stream = first_stream + lane % kStreams;
  if (lane < kRows * kStreams && row < step.out && stream < step.streams) {
    step.y[stream * step.out + row] = step.bias != nullptr ? mine + step.bias[row] : mine;
  }
}

template <int kStreams, bool vectors>
void launch_linear_step(const LinearStep& step, Stream stream) {
  constexpr int kRows = kStreams >= 4 ? 2 : 1;
  constexpr std::int64_t kBlockRows = kRows * kLinearWarps;
  const Grid grid{dim3(static_cast<unsigned>((step.out + kBlockRows - 1) / kBlockRows),
                       static_cast<unsigned>((step.streams + kStreams - 1) / kStreams)),
                  dim3(kLinearWarps * kWarpSize)};
  launch("linear_step", linear_step_kernel<kRows, kStreams, vectors>, grid, stream, step);
}

template <bool vectors>
void dispatch_linear_step(const LinearStep& step, Stream stream) {
  if (step.streams == 1) {
    launch_linear_step<1, vectors>(step, stream);
  } else if (step.streams == 2) {
    launch_linear_step<2, vectors>(step, stream);
  } else if (step.streams <= 4) {
    launch_linear_step<4, vectors>(step, stream);
  } else if (!vectors || step.streams <= 8) {  // 16 without vectors would not fit the registers
    launch_linear_step<8, vectors>(step, stream);
  } else if constexpr (vectors) {
    launch_linear_step<16, vectors>(step, stream);
  }
}

// A block a stream. Deviations are squared in a pass of their own, as on the CPU: a row is small
// enough to be read again from the cache.
__global__ void layer_norm_step_kernel(LayerNormStep step) {
  __shared__ float scratch[kWarpSize];
  const float* x = step.x + blockIdx.x * step.n;
  float* y = step.y + blockIdx.x * step.n;
  const auto count = static_cast<float>(step.n);
  float sum = 0.0F;
  for (std::int64_t i = threadIdx.x; i < step.n; i += kNormThreads) {
    sum += x[i];
  }
  const float mean = block_sum(sum, scratch) / count;
  sum = 0.0F;
  for (std::int64_t i = threadIdx.x; i < step.n; i += kNormThreads) {
    const float centred = x[i] - mean;
    sum += centred * centred;
  }
  const float inverse = 1.0F / sqrtf(block_sum(sum, scratch) / count + step.eps);
  for (std::int64_t i = threadIdx.x; i < step.n; i += kNormThreads) {
    y[i] = (x[i] - mean) * inverse * step.weight[i] + step.bias[i];
  }
}

struct Ids {
  std::int32_t id[kIds];
};

// A row of blocks a stream.
__global__ void embedding_step_kernel(const Ids ids, const float* weight, float* y,
                                      std::int64_t d) {
  const float* row = weight + ids.id[blockIdx.y] * d;
  const std::int64_t i = first_item();
  if (i < d) {
    y[blockIdx.y * d + i] = row[i];
  }
}

__global__ void add_scaled_step_kernel(const float* a, const float* alpha, const float* b, float* y,
                                       std::int64_t count) {
  const std::int64_t i = first_item();
  if (i < count) {
    y[i] = a[i] + *alpha * b[i];
  }
}

// A thread an element of y.
__global__ void add_gelu_chunks_step_kernel(const float* x, float* y, std::int64_t count,
                                            std::int64_t chunks, std::int64_t size) {
  const std::int64_t i = first_item();
  if (i >= count) {
    return;
  }
  const float* from = x + i / size * chunks * size + i % size;
  float sum = y[i];
  for (std::int64_t c = 0; c < chunks; ++c) {
    sum += Gelu::value(from[c * size]);
  }
  y[i] = sum;
}

// A thread a unit of a stream.
template <Activation activation, bool has_skip_term>
__global__ void sru_step_kernel(SruStep step) {
  const std::int64_t i = first_item();
  if (i >= step.streams * step.units) {
    return;
  }
  const std::int64_t s = i / step.units;
  const std::int64_t unit = i % step.units;
  const float* u = step.u + s * step.planes * step.units + unit;
  SruInput<float> in{u[0], u[step.units], u[2 * step.units], 0.0F};
  if constexpr (has_skip_term) {
    in.x = step.x != nullptr ? step.x[i] * step.scale_x : u[3 * step.units];
  }
  const SruUnit<float> weights{step.weight[unit], step.weight[step.units + unit], step.bias[unit],
                               step.bias[step.units + unit], 1.0F};
  const SruState<float> out = sru_forward_step<activation, has_skip_term>(in, weights, step.c[i]);
  step.c[i] = out.c;
  step.h[i] = out.h;
}

__device__ LstmGates<float> gates_at(const float* planes, std::int64_t plane) {
  return {planes[0], planes[plane], planes[2 * plane], planes[3 * plane]};
}

// A thread a unit of a stream.
__global__ void lstm_step_kernel(LstmStep step) {
  const std::int64_t i = first_item();
  if (i >= step.streams * step.units) {
    return;
  }
  const std::int64_t first = i / step.units * 4 * step.units + i % step.units;
  const LstmGates<float> gates = lstm_activate(gates_at(step.gates_of_x + first, step.units) +
                                               gates_at(step.gates_of_h + first, step.units));
  const LstmState<float> out = lstm_forward_step(gates, step.c[i]);
  step.c[i] = out.c;
  step.h[i] = out.h;
}

template <Activation activation, bool has_skip_term>
void launch_sru_step(const SruStep& step, Stream stream) {
  launch("sru_step", sru_step_kernel<activation, has_skip_term>,
         grid_over(step.streams * step.units, 128), stream, step);
}

}  // namespace

void linear_step(const LinearStep& step, Stream stream) {
  if (takes_vectors(step.x, step.in) && takes_vectors(step.weight, step.in)) {
    dispatch_linear_step<true>(step, stream);
  } else {
    dispatch_linear_step<false>(step, stream);
  }
}

void layer_norm_step(const LayerNormStep& step, Stream stream) {
  const Grid grid{dim3(static_cast<unsigned>(step.streams)), dim3(kNormThreads)};
  launch("layer_norm_step", layer_norm_step_kernel, grid, stream, step);
}

void embedding_step(const std::int32_t* ids, const float* weight, float* y, std::int64_t streams,
                    std::int64_t d, Stream stream) {
  for (std::int64_t first = 0; first < streams; first += kIds) {
    const std::int64_t count = std::min<std::int64_t>(kIds, streams - first);
    Ids some{};
    std::copy_n(ids + first, count, some.id);
    Grid grid = grid_over(d);
    grid.blocks.y = static_cast<unsigned>(count);
    launch("embedding_step", embedding_step_kernel, grid, stream, some, weight, y + first * d, d);
  }
}

void add_scaled_step(const float* a, const float* alpha, const float* b, float* y,
                     std::int64_t count, Stream stream) {
  launch("add_scaled_step", add_scaled_step_kernel, grid_over(count), stream, a, alpha, b, y,
         count);
}

void add_gelu_chunks_step(const float* x, float* y, std::int64_t streams, std::int64_t chunks,
                          std::int64_t size, Stream stream) {
  launch("add_gelu_chunks_step", add_gelu_chunks_step_kernel, grid_over(streams * size), stream, x,
         y, streams * size, chunks, size);
}

void sru_step(const SruStep& step, Stream stream) {
  if (step.activation == Activation::identity) {
    step.has_skip_term ? launch_sru_step<Activation::identity, true>(step, stream)
                       : launch_sru_step<Activation::identity, false>(step, stream);
  } else {
    step.has_skip_term ? launch_sru_step<Activation::tanh, true>(step, stream)
                       : launch_sru_step<Activation::tanh, false>(step, stream);
  }
}

void lstm_step(const LstmStep& step, Stream stream) {
  launch("lstm_step", lstm_step_kernel, grid_over(step.streams * step.units, 128), stream, step);
}

}  // namespace rondo::cuda
