// Elementwise kernels that move each byte once. Bound by memory bandwidth: a thread moves 16 bytes
// at a time, which halves or better the threads needed to keep enough of them under way, and single
// elements where a view is not aligned and at the end.
#include "core/tensor_kernels.h"

#include "core/cuda_vector.cuh"

namespace rondo::cuda {
namespace {

// Calls vector(i) for every vector of N among `count` elements, and single(i) for every element
// after them.
template <int N, typename OnVector, typename OnSingle>
__device__ void for_each_vector(std::int64_t count, OnVector vector, OnSingle single) {
  const std::int64_t vectors = count / N;
  for (std::int64_t i = first_item(); i < vectors; i += item_stride()) {
    vector(i);
  }
  for (std::int64_t i = vectors * N + first_item(); i < count; i += item_stride()) {
    single(i);
  }
}

// A grid with a thread for each vector and for each element after them.
Grid grid_over_vectors(std::int64_t count, int n) { return grid_over(count / n + count % n); }

template <typename Word>
__global__ void fill_kernel(Word* to, Word value, std::int64_t count) {
  for (std::int64_t i = first_item(); i < count; i += item_stride()) {
    to[i] = value;
  }
}

template <int N, typename From, typename To>
__global__ void convert_kernel(const From* from, To* to, std::int64_t count) {
  for_each_vector<N>(
      count,
      [=](std::int64_t i) {
        const Vector<From, N> in = reinterpret_cast<const Vector<From, N>*>(from)[i];
        Vector<To, N> out;
#pragma unroll
        for (int j = 0; j < N; ++j) {
          out.at[j] = convert_element<To>(in.at[j]);
        }
        reinterpret_cast<Vector<To, N>*>(to)[i] = out;
      },
      [=](std::int64_t i) { to[i] = convert_element<To>(from[i]); });
}

template <typename T>
__device__ T sum_of(T a, T b) {
  return convert_element<T>(to_compute(a) + to_compute(b));
}

template <int N, typename T>
__global__ void add_in_place_kernel(T* to, const T* from, std::int64_t count) {
  for_each_vector<N>(
      count,
      [=](std::int64_t i) {
        const Vector<T, N> in = reinterpret_cast<const Vector<T, N>*>(from)[i];
        Vector<T, N> out = reinterpret_cast<const Vector<T, N>*>(to)[i];
#pragma unroll
        for (int j = 0; j < N; ++j) {
          out.at[j] = sum_of(out.at[j], in.at[j]);
        }
        reinterpret_cast<Vector<T, N>*>(to)[i] = out;
      },
      [=](std::int64_t i) { to[i] = sum_of(to[i], from[i]); });
}

}  // namespace

template <typename Word>
void fill(Word* to, Word value, std::int64_t count, Stream stream) {
  if (count == 0) {
    return;
  }
  if (value == 0) {
    set_bytes(to, 0, static_cast<std::size_t>(count) * sizeof(Word), stream);
    return;
  }
  launch("fill", fill_kernel<Word>, grid_over(count), stream, to, value, count);
}

template <typename From, typename To>
void convert(const From* from, To* to, std::int64_t count, Stream stream) {
  constexpr int N = 8;  // of the narrower type 16 bytes, but for f32 and f64
  if (count == 0) {
    return;
  }
  if (takes_vectors(from, 0) && takes_vectors(to, 0)) {
    launch("to", convert_kernel<N, From, To>, grid_over_vectors(count, N), stream, from, to, count);
  } else {
    launch("to", convert_kernel<1, From, To>, grid_over(count), stream, from, to, count);
  }
}

template <typename T>
void add_in_place(T* to, const T* from, std::int64_t count, Stream stream) {
  constexpr int N = vector_size<T>;
  if (count == 0) {
    return;
  }
  if (takes_vectors(from, 0) && takes_vectors(to, 0)) {
    launch("add_", add_in_place_kernel<N, T>, grid_over_vectors(count, N), stream, to, from, count);
  } else {
    launch("add_", add_in_place_kernel<1, T>, grid_over(count), stream, to, from, count);
  }
}

template void fill(std::uint8_t*, std::uint8_t, std::int64_t, Stream);
template void fill(std::uint16_t*, std::uint16_t, std::int64_t, Stream);
template void fill(std::uint32_t*, std::uint32_t, std::int64_t, Stream);
template void fill(std::uint64_t*, std::uint64_t, std::int64_t, Stream);

template void convert(const float*, double*, std::int64_t, Stream);
template void convert(const float*, bfloat16*, std::int64_t, Stream);
template void convert(const float*, float16*, std::int64_t, Stream);
template void convert(const double*, float*, std::int64_t, Stream);
template void convert(const double*, bfloat16*, std::int64_t, Stream);
template void convert(const double*, float16*, std::int64_t, Stream);
template void convert(const bfloat16*, float*, std::int64_t, Stream);
template void convert(const bfloat16*, double*, std::int64_t, Stream);
template void convert(const bfloat16*, float16*, std::int64_t, Stream);
template void convert(const float16*, float*, std::int64_t, Stream);
template void convert(const float16*, double*, std::int64_t, Stream);
template void convert(const float16*, bfloat16*, std::int64_t, Stream);

template void add_in_place(float*, const float*, std::int64_t, Stream);
template void add_in_place(double*, const double*, std::int64_t, Stream);
template void add_in_place(bfloat16*, const bfloat16*, std::int64_t, Stream);
template void add_in_place(float16*, const float16*, std::int64_t, Stream);

}  // namespace rondo::cuda
