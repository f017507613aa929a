// Products of few rows of a matrix with few vectors, by one warp: what stepping is made of.
#pragma once

#include <cstdint>

#include "core/cuda_launch.cuh"

namespace rondo::cuda {

constexpr unsigned kAllLanes = 0xffffffffU;

// The sum over the lanes of a full warp, the same bits in every lane.
__device__ inline float warp_sum(float value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, distance);
  }
  return value;
}

// Elements i to i + 3 of the `n` from `from` on, zeros for those beyond. With `vectors`, `from` is
// aligned to 16 bytes and i and n are multiples of 4.
template <bool vectors>
__device__ inline float4 load_four(const float* from, std::int64_t i, std::int64_t n) {
  if constexpr (vectors) {
    return i < n ? __ldg(reinterpret_cast<const float4*>(from + i)) : float4{0, 0, 0, 0};
  } else {
    return {i < n ? __ldg(from + i) : 0.0F, i + 1 < n ? __ldg(from + i + 1) : 0.0F,
            i + 2 < n ? __ldg(from + i + 2) : 0.0F, i + 3 < n ? __ldg(from + i + 3) : 0.0F};
  }
}

// Whether load_four<true> may be used for rows of `n` elements that follow one another from `from`.
inline bool rows_are_vectors(const float* from, std::int64_t n) {
  return n % 4 == 0 && reinterpret_cast<std::uintptr_t>(from) % sizeof(float4) == 0;
}

// sums[r][s] = sum over i of x[s][i] * rows[r][i], i < n, in every lane of the warp that calls. A
// lane sums groups of four that lie 128 elements apart, one after the other, then the lanes are
// added up as a tree: always in this order, whatever kRows, kStreams and `vectors` are.
template <int kRows, int kStreams, bool vectors>
__device__ inline void rows_dot(const float* const (&rows)[kRows],
                                const float* const (&x)[kStreams], std::int64_t n,
                                float (&sums)[kRows][kStreams]) {
  constexpr int kGroup = 4 * 32;     // elements that the warp takes at a time
  constexpr int kAhead = 8 / kRows;  // loads of a row under way together hide their latency
  const int lane = static_cast<int>(threadIdx.x) % warpSize;
  for (int r = 0; r < kRows; ++r) {
    for (int s = 0; s < kStreams; ++s) {
      sums[r][s] = 0.0F;
    }
  }
  for (std::int64_t start = 0; start < n; start += kAhead * kGroup) {
    float4 row[kRows][kAhead];
    for (int r = 0; r < kRows; ++r) {
      for (int k = 0; k < kAhead; ++k) {
        row[r][k] = load_four<vectors>(rows[r], start + k * kGroup + 4 * lane, n);
      }
    }
    for (int k = 0; k < kAhead; ++k) {
      if (start + k * kGroup >= n) {  // of the whole warp: no sum takes more steps than another
        break;
      }
      for (int s = 0; s < kStreams; ++s) {
        const float4 v = load_four<vectors>(x[s], start + k * kGroup + 4 * lane, n);
        for (int r = 0; r < kRows; ++r) {
          float sum = fmaf(row[r][k].x, v.x, sums[r][s]);
          sum = fmaf(row[r][k].y, v.y, sum);
          sum = fmaf(row[r][k].z, v.z, sum);
          sums[r][s] = fmaf(row[r][k].w, v.w, sum);
        }
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int s = 0; s < kStreams; ++s) {
      sums[r][s] = warp_sum(sums[r][s]);
    }
  }
}

}  // namespace rondo::cuda
