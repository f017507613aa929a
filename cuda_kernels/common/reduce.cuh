// Sums and maxima over the threads of a warp or a block. Their order depends only on the number of
// threads, so the same values give the same bits.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/cuda_launch.cuh"

namespace rondo::cuda {

constexpr int kWarpSize = 32;
constexpr unsigned kAllLanes = 0xffffffffU;  // the mask of a whole warp

__device__ inline int lane_index() { return static_cast<int>(threadIdx.x) % kWarpSize; }
__device__ inline int warp_index() { return static_cast<int>(threadIdx.x) / kWarpSize; }

// Threads of a block that has about one for each of `count` items: whole warps, at most `limit`.
inline int threads_for(std::int64_t count, int limit = 1024) {
  const std::int64_t warps = (count + kWarpSize - 1) / kWarpSize;
  return static_cast<int>(std::clamp<std::int64_t>(warps * kWarpSize, kWarpSize, limit));
}

// The sum over the lanes of this warp, the same bits in each. All 32 lanes must call it. T is
// float, double or an integer.
template <typename T>
__device__ T warp_sum(T value) {
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, offset);
  }
  return value;
}

// The largest value of this warp; NaN counts only where all are NaN.
template <typename T>
__device__ T warp_max(T value) {
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, value, offset);
    value = other > value || value != value ? other : value;
  }
  return value;
}

// The same over a block: of one dimension, of whole warps, every thread of which must call it and
// gets the result. `scratch` is shared memory for kWarpSize values, free again on return.
template <typename T>
__device__ T block_sum(T value, T* scratch) {
  value = warp_sum(value);
  if (blockDim.x == kWarpSize) {
    return value;
  }
  if (lane_index() == 0) {
    scratch[warp_index()] = value;
  }
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / kWarpSize;
  value = warp_sum(lane_index() < warps ? scratch[lane_index()] : T(0));
  __syncthreads();
  return value;
}

template <typename T>
__device__ T block_max(T value, T* scratch) {
  value = warp_max(value);
  if (blockDim.x == kWarpSize) {
    return value;
  }
  if (lane_index() == 0) {
    scratch[warp_index()] = value;
  }
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / kWarpSize;
  value = warp_max(scratch[lane_index() < warps ? lane_index() : 0]);
  __syncthreads();
  return value;
}

// The sum over the threads before this one, in a block as above. `scratch` likewise.
template <typename T>
__device__ T block_exclusive_sum(T value, T* scratch) {
  T inclusive = value;  // over the lanes up to this one
  for (int offset = 1; offset < kWarpSize; offset *= 2) {
    const T lower = __shfl_up_sync(kAllLanes, inclusive, offset);
    inclusive += lane_index() >= offset ? lower : T(0);
  }
  if (lane_index() == kWarpSize - 1) {
    scratch[warp_index()] = inclusive;
  }
  __syncthreads();
  const T warp_total = lane_index() < warp_index() ? scratch[lane_index()] : T(0);
  const T before = warp_sum(warp_total);
  __syncthreads();
  return before + inclusive - value;
}

}  // namespace rondo::cuda
