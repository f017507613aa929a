// What a kernel may use of CUDA's language and built-in functions. The overloads are CUDA's, so
// that what compiles here does not find another meaning there.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <source_location>
#include <type_traits>

#include "tests/cuda_emulation/executor.h"
#include "tests/cuda_emulation/vector_types.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ static  // blocks run in turn, so one copy serves them all
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))

inline const uint3& threadIdx = cuda_emulation::thread_index;
inline const uint3& blockIdx = cuda_emulation::block_index;
inline const dim3& blockDim = cuda_emulation::block_size;
inline const dim3& gridDim = cuda_emulation::grid_size;
inline constexpr int warpSize = 32;

namespace cuda_emulation {

using Where = std::source_location;

// What shuffles take.
template <typename T>
concept Shuffled = std::same_as<T, int> || std::same_as<T, unsigned> || std::same_as<T, long> ||
    std::same_as<T, unsigned long> || std::same_as<T, long long> ||
    std::same_as<T, unsigned long long> || std::same_as<T, float> || std::same_as<T, double>;

// What __ldg takes: numbers and the vector types.
template <typename T>
concept Loaded = std::is_arithmetic_v<T> || requires(T v) {
  v.x + v.y;
};

// The last lane of the section of `width` lanes that `lane` is in.
inline unsigned section_end(unsigned lane, int width) {
  return lane | static_cast<unsigned>(width - 1);
}

template <Shuffled T>
T exchange(Operation operation, unsigned mask, T value, unsigned source, const Where& where) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  const std::uint64_t bits =
      exchange_in_warp(operation, mask, std::bit_cast<Bits>(value), source, where);
  return std::bit_cast<T>(static_cast<Bits>(bits));
}

// Threads change places only where they wait, so a plain read and write is atomic.
template <typename T, typename Change>
T change(T* address, Change next) {
  const T old = *address;
  *address = next(old);
  return old;
}

}  // namespace cuda_emulation

// Barriers of the block.

inline void __syncthreads(cuda_emulation::Where where = cuda_emulation::Where::current()) {
  cuda_emulation::wait_for_block(cuda_emulation::Operation::syncthreads, false, where);
}
inline int __syncthreads_or(int predicate,
                            cuda_emulation::Where where = cuda_emulation::Where::current()) {
  return cuda_emulation::wait_for_block(cuda_emulation::Operation::syncthreads_or, predicate != 0,
                                        where) != 0
             ? 1
             : 0;
}
inline int __syncthreads_and(int predicate,
                             cuda_emulation::Where where = cuda_emulation::Where::current()) {
  return cuda_emulation::wait_for_block(cuda_emulation::Operation::syncthreads_and, predicate == 0,
                                        where) == 0
             ? 1
             : 0;
}
inline int __syncthreads_count(int predicate,
                               cuda_emulation::Where where = cuda_emulation::Where::current()) {
  return cuda_emulation::wait_for_block(cuda_emulation::Operation::syncthreads_count,
                                        predicate != 0, where);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// Warps. A width is 1, 2, 4, 8, 16 or 32; the lanes of a section of that width exchange values
// among themselves, and a lane that would read beyond its section gets its own value.

inline void __syncwarp(unsigned mask = 0xffffffffU,
                       cuda_emulation::Where where = cuda_emulation::Where::current()) {
  cuda_emulation::vote_in_warp(cuda_emulation::Operation::syncwarp, mask, false, where);
}
template <cuda_emulation::Shuffled T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize,
              cuda_emulation::Where where = cuda_emulation::Where::current()) {
  const unsigned end = cuda_emulation::section_end(cuda_emulation::lane(), width);
  const unsigned first = end - static_cast<unsigned>(width - 1);
  return cuda_emulation::exchange(cuda_emulation::Operation::shfl, mask, value,
                                  first + static_cast<unsigned>(source & (width - 1)), where);
}
template <cuda_emulation::Shuffled T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize,
                 cuda_emulation::Where where = cuda_emulation::Where::current()) {
  const unsigned lane = cuda_emulation::lane();
  const unsigned within = lane & static_cast<unsigned>(width - 1);
  return cuda_emulation::exchange(cuda_emulation::Operation::shfl_up, mask, value,
                                  delta <= within ? lane - delta : lane, where);
}
template <cuda_emulation::Shuffled T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize,
                   cuda_emulation::Where where = cuda_emulation::Where::current()) {
  const unsigned lane = cuda_emulation::lane();
  const unsigned left = cuda_emulation::section_end(lane, width) - lane;
  return cuda_emulation::exchange(cuda_emulation::Operation::shfl_down, mask, value,
                                  delta <= left ? lane + delta : lane, where);
}
template <cuda_emulation::Shuffled T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize,
                  cuda_emulation::Where where = cuda_emulation::Where::current()) {
  const unsigned lane = cuda_emulation::lane();
  const unsigned source = lane ^ static_cast<unsigned>(lane_mask);
  return cuda_emulation::exchange(
      cuda_emulation::Operation::shfl_xor, mask, value,
      source <= cuda_emulation::section_end(lane, width) ? source : lane, where);
}
inline unsigned __ballot_sync(unsigned mask, int predicate,
                              cuda_emulation::Where where = cuda_emulation::Where::current()) {
  return cuda_emulation::vote_in_warp(cuda_emulation::Operation::ballot, mask, predicate != 0,
                                      where);
}
inline int __any_sync(unsigned mask, int predicate,
                      cuda_emulation::Where where = cuda_emulation::Where::current()) {
  return cuda_emulation::vote_in_warp(cuda_emulation::Operation::any, mask, predicate != 0,
                                      where) != 0
             ? 1
             : 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      cuda_emulation::Where where = cuda_emulation::Where::current()) {
  return cuda_emulation::vote_in_warp(cuda_emulation::Operation::all, mask, predicate != 0,
                                      where) == mask
             ? 1
             : 0;
}

// Atomics. All return what was there before.

inline int atomicAdd(int* address, int value) {
  return cuda_emulation::change(address, [=](int old) {
    return static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(value));
  });
}
inline unsigned atomicAdd(unsigned* address, unsigned value) {
  return cuda_emulation::change(address, [=](unsigned old) { return old + value; });
}
inline unsigned long long atomicAdd(unsigned long long* address, unsigned long long value) {
  return cuda_emulation::change(address, [=](unsigned long long old) { return old + value; });
}
inline float atomicAdd(float* address, float value) {
  return cuda_emulation::change(address, [=](float old) { return old + value; });
}
inline double atomicAdd(double* address, double value) {
  return cuda_emulation::change(address, [=](double old) { return old + value; });
}
inline int atomicMax(int* address, int value) {
  return cuda_emulation::change(address, [=](int old) { return std::max(old, value); });
}
inline unsigned atomicMax(unsigned* address, unsigned value) {
  return cuda_emulation::change(address, [=](unsigned old) { return std::max(old, value); });
}
inline long long atomicMax(long long* address, long long value) {
  return cuda_emulation::change(address, [=](long long old) { return std::max(old, value); });
}
inline unsigned long long atomicMax(unsigned long long* address, unsigned long long value) {
  return cuda_emulation::change(address,
                                [=](unsigned long long old) { return std::max(old, value); });
}
inline int atomicMin(int* address, int value) {
  return cuda_emulation::change(address, [=](int old) { return std::min(old, value); });
}
inline unsigned atomicMin(unsigned* address, unsigned value) {
  return cuda_emulation::change(address, [=](unsigned old) { return std::min(old, value); });
}
inline long long atomicMin(long long* address, long long value) {
  return cuda_emulation::change(address, [=](long long old) { return std::min(old, value); });
}
inline unsigned long long atomicMin(unsigned long long* address, unsigned long long value) {
  return cuda_emulation::change(address,
                                [=](unsigned long long old) { return std::min(old, value); });
}
inline int atomicCAS(int* address, int expected, int value) {
  return cuda_emulation::change(address, [=](int old) { return old == expected ? value : old; });
}
inline unsigned atomicCAS(unsigned* address, unsigned expected, unsigned value) {
  return cuda_emulation::change(address,
                                [=](unsigned old) { return old == expected ? value : old; });
}
inline unsigned long long atomicCAS(unsigned long long* address, unsigned long long expected,
                                    unsigned long long value) {
  return cuda_emulation::change(
      address, [=](unsigned long long old) { return old == expected ? value : old; });
}

// Loads, bits and fast maths.

template <cuda_emulation::Loaded T>
T __ldg(const T* address) {
  return *address;
}
inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __popcll(unsigned long long bits) { return std::popcount(bits); }
inline int __ffs(int bits) {
  return bits == 0 ? 0 : std::countr_zero(static_cast<unsigned>(bits)) + 1;
}
inline int __clz(int bits) { return std::countl_zero(static_cast<unsigned>(bits)); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
// The fast division gives up on divisors above 2^126.
inline float __fdividef(float x, float y) {
  return std::abs(y) > 0x1p126F && std::isfinite(y) ? x * 0.0F : x / y;
}

// The global min and max, which pass over a NaN.
template <typename A, typename B>
requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) {
    return std::fmin(static_cast<T>(a), static_cast<T>(b));
  } else {
    return std::min(static_cast<T>(a), static_cast<T>(b));
  }
}
template <typename A, typename B>
requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) {
    return std::fmax(static_cast<T>(a), static_cast<T>(b));
  } else {
    return std::max(static_cast<T>(a), static_cast<T>(b));
  }
}
