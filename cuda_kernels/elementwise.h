// Operations on one element at a time on a GPU, and sums of all (ops/elementwise.h).
//
// T is float, double, bfloat16 or float16; arithmetic happens in ComputeType<T>. Pointers are
// device pointers to `count` elements, or to one where said. Results may be in the place of an
// input of as many elements. Everything is written (=).
#pragma once

#include <cstdint>

#include "core/cuda.h"
#include "core/half.h"
#include "core/scalar/activation.h"

namespace rondo::cuda {

// An operand: `count` elements, or one that meets every element of the other.
template <typename T>
struct Operand {
  const T* data;
  bool single;
};

// y[i] = a[i] + sign * b[i]
template <typename T>
void add_signed(Operand<T> a, Operand<T> b, double sign, T* y, std::int64_t count, Stream stream);

// y[i] = a[i] * b[i]
template <typename T>
void multiply(Operand<T> a, Operand<T> b, T* y, std::int64_t count, Stream stream);

// y[i] = factor * x[i]
template <typename T>
void scale(const T* x, double factor, T* y, std::int64_t count, Stream stream);

// y[i] = *alpha * x[i]
template <typename T>
void scale_by(const T* x, const ComputeType<T>* alpha, T* y, std::int64_t count, Stream stream);

// out[i] = x[i] + *alpha * y[i]
template <typename T>
void add_scaled(const T* x, const ComputeType<T>* alpha, const T* y, T* out, std::int64_t count,
                Stream stream);

// y[i] = factor * *value
template <typename T>
void spread(const T* value, double factor, T* y, std::int64_t count, Stream stream);

// y[i] = Function::value(x[i]); Function is Sigmoid, Tanh, Gelu or Relu
// (core/scalar/activation.h).
template <typename Function, typename T>
void activate(const T* x, T* y, std::int64_t count, Stream stream);

// grad_x[i] = Function::gradient(grad_y[i], kept[i]), with `kept` what activate gave, or took
// where Function::keeps_input
template <typename Function, typename T>
void activate_gradient(const T* grad_y, const T* kept, T* grad_x, std::int64_t count,
                       Stream stream);

// Doubles of scratch that sums need.
constexpr std::int64_t kSumScratch = 1024;

// *y = factor * (sum of x). `scratch` has kSumScratch elements. The order of the sum depends on
// `count` alone.
template <typename T>
void sum(const T* x, double factor, double* scratch, T* y, std::int64_t count, Stream stream);

// *y = sum of a[i] * b[i]. `scratch` and order as for sum.
template <typename T>
void dot(const T* a, const T* b, double* scratch, ComputeType<T>* y, std::int64_t count,
         Stream stream);

}  // namespace rondo::cuda
