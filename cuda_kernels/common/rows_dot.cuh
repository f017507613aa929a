// Products of few rows of a matrix with few vectors, by one warp: what stepping is made of.
#pragma once

#include <cstdint>

#include "core/cuda_vector.cuh"
#include "cuda_kernels/common/reduce.cuh"

namespace rondo::cuda {

constexpr int kDotGroup = 4 * kWarpSize;  // elements of a row that a warp takes at a time

// Four neighbouring elements; with `vectors`, from an address that is aligned to 16 bytes.
template <bool vectors>
__device__ inline float4 load_four(const float* from) {
  if constexpr (vectors) {
    return __ldg(reinterpret_cast<const float4*>(from));
  } else {
    return {__ldg(from), __ldg(from + 1), __ldg(from + 2), __ldg(from + 3)};
  }
}

__device__ inline float add_products(float sum, float4 a, float4 b) {
  sum = fmaf(a.x, b.x, sum);
  sum = fmaf(a.y, b.y, sum);
  sum = fmaf(a.z, b.z, sum);
  return fmaf(a.w, b.w, sum);
}

// Adds `groups` groups from element i on to the sums, the loads of the rows under way together.
// With `all` false, those of the fours that end beyond n count as zeros and are not read.
template <int groups, bool vectors, bool all, int kRows, int kStreams>
__device__ inline void add_groups(const float* const (&rows)[kRows],
                                  const float* const (&x)[kStreams], std::int64_t i, std::int64_t n,
                                  float (&sums)[kRows][kStreams]) {
  const auto load = [&](const float* from, int g) {
    const std::int64_t at = i + g * kDotGroup;
    return all || at + 3 < n ? load_four<vectors>(from + at) : float4{0.0F, 0.0F, 0.0F, 0.0F};
  };
  float4 row[kRows][groups];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int g = 0; g < groups; ++g) {
      row[r][g] = load(rows[r], g);
    }
  }
#pragma unroll
  for (int g = 0; g < groups; ++g) {
#pragma unroll
    for (int s = 0; s < kStreams; ++s) {
      const float4 v = load(x[s], g);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        sums[r][s] = add_products(sums[r][s], row[r][g], v);
      }
    }
  }
}

// sums[r][s] = sum over i of x[s][i] * rows[r][i], i < n, in every lane of the warp that calls.
// `vectors` says that takes_vectors is true of all rows and x. A lane sums fours that lie 128
// elements apart, one after the other, then the lanes are added up as a tree: the bits are the same
// whatever kRows, kStreams and `vectors` are.
template <bool vectors, int kRows, int kStreams>
__device__ inline void rows_dot(const float* const (&rows)[kRows],
                                const float* const (&x)[kStreams], std::int64_t n,
                                float (&sums)[kRows][kStreams]) {
  constexpr int kAhead = 8 / kRows;  // groups of a row at once: enough to hide the memory's latency
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int s = 0; s < kStreams; ++s) {
      sums[r][s] = 0.0F;
    }
  }
  std::int64_t i = 4 * lane_index();
  for (; i + (kAhead - 1) * kDotGroup + 3 < n; i += kAhead * kDotGroup) {
    add_groups<kAhead, vectors, true>(rows, x, i, n, sums);
  }
  if (i + 3 < n) {
    add_groups<kAhead, vectors, false>(rows, x, i, n, sums);
    i += (n - i) / kDotGroup * kDotGroup;
    i += i + 3 < n ? kDotGroup : 0;
  }
  if constexpr (!vectors) {  // the lane that is left with fewer than four
#pragma unroll 1
    for (; i < n; ++i) {
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
#pragma unroll
        for (int s = 0; s < kStreams; ++s) {
          sums[r][s] = fmaf(rows[r][i], x[s][i], sums[r][s]);
        }
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int s = 0; s < kStreams; ++s) {
      sums[r][s] = warp_sum(sums[r][s]);
    }
  }
}

}  // namespace rondo::cuda
