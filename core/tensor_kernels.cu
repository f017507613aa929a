// Elementwise kernels that move each byte once: a grid strides over the elements, neighbouring
// threads on neighbouring elements. Bound by memory bandwidth.
#include "core/tensor_kernels.h"

#include "core/cuda_launch.cuh"
#include "core/element.h"

namespace rondo::cuda {
namespace {

template <typename Word>
__global__ void fill_kernel(Word* to, Word value, std::int64_t count) {
  for (std::int64_t i = first_item(); i < count; i += item_stride()) {
    to[i] = value;
  }
}

template <typename From, typename To>
__global__ void convert_kernel(const From* from, To* to, std::int64_t count) {
  for (std::int64_t i = first_item(); i < count; i += item_stride()) {
    to[i] = convert_element<To>(from[i]);
  }
}

template <typename T>
__global__ void add_in_place_kernel(T* to, const T* from, std::int64_t count) {
  for (std::int64_t i = first_item(); i < count; i += item_stride()) {
    to[i] = convert_element<T>(to_compute(to[i]) + to_compute(from[i]));
  }
}

}  // namespace

template <typename Word>
void fill(Word* to, Word value, std::int64_t count, Stream stream) {
  launch("fill", fill_kernel<Word>, grid_over(count), stream, to, value, count);
}

template <typename From, typename To>
void convert(const From* from, To* to, std::int64_t count, Stream stream) {
  launch("to", convert_kernel<From, To>, grid_over(count), stream, from, to, count);
}

template <typename T>
void add_in_place(T* to, const T* from, std::int64_t count, Stream stream) {
  launch("add_", add_in_place_kernel<T>, grid_over(count), stream, to, from, count);
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
