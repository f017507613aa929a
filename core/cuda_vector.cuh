// Several neighbouring elements at once, as the numbers that arithmetic happens in.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/cuda_launch.cuh"
#include "core/element.h"

namespace rondo::cuda {

constexpr int kVectorBytes = 16;  // what a thread reads or writes at once at most

// Elements of T in 16 bytes.
template <typename T>
inline constexpr int vector_size = kVectorBytes / static_cast<int>(sizeof(T));

// N elements in memory. Longer ones than 16 bytes move 16 bytes at a time.
template <typename T, int N>
struct alignas(N * sizeof(T) < kVectorBytes ? N * sizeof(T) : kVectorBytes) Vector {
  T at[N];
};

// to = the N elements at `from`, which is aligned to min(16, N * sizeof(T)) bytes.
template <int N, typename T>
__device__ void load_vector(const T* from, ComputeType<T> (&to)[N]) {
  const Vector<T, N> vector = *reinterpret_cast<const Vector<T, N>*>(from);
  for (int i = 0; i < N; ++i) {
    to[i] = to_compute(vector.at[i]);
  }
}

// The N elements at `to`, aligned likewise, = from, rounded to T.
template <int N, typename T>
__device__ void store_vector(const ComputeType<T> (&from)[N], T* to) {
  Vector<T, N> vector;
  for (int i = 0; i < N; ++i) {
    vector.at[i] = convert_element<T>(from[i]);
  }
  *reinterpret_cast<Vector<T, N>*>(to) = vector;
}

// For launchers: whether vectors of 16 bytes can be used on `pointer` (null will do) and on every
// row of `row_elements` elements after it.
template <typename T>
bool takes_vectors(const T* pointer, std::int64_t row_elements) {
  return reinterpret_cast<std::uintptr_t>(pointer) % kVectorBytes == 0 &&
         row_elements % vector_size<T> == 0;
}

}  // namespace rondo::cuda
