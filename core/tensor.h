// A contiguous, row-major array: a handle to shared storage. Copies of a Tensor share elements.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"
#include "core/shape.h"

namespace rondo {

class Tensor {
 public:
  // No tensor at all: defined() is false.
  Tensor() = default;

  // Elements not initialised (none at all on the meta device).
  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu());
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu());
  static Tensor full(const Shape& shape, double value, DType dtype = DType::f32,
                     Device device = Device::cpu());
  // Copies `values`, one per element of `shape`, to a CPU tensor.
  template <typename T>
  static Tensor from(std::span<const T> values, const Shape& shape);
  template <typename T>
  static Tensor from(const std::vector<T>& values, const Shape& shape) {
    return from(std::span<const T>(values), shape);
  }
  // Elements owned by somebody else (a mapped file): `owner` keeps them alive. Not to be written
  // to unless the owner allows it.
  static Tensor wrap(void* data, const Shape& shape, DType dtype, std::shared_ptr<void> owner);

  bool defined() const { return defined_; }
  const Shape& shape() const { return shape_; }
  std::int64_t size(int dim) const { return shape_[dim]; }
  std::int64_t numel() const { return shape_.numel(); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype_); }

  // The first element. T must be the tensor's type; the tensor must be on the CPU (device_data
  // is for GPUs).
  template <typename T>
  T* data() {
    require_type(dtype_of<T>);
    return static_cast<T*>(raw());
  }
  template <typename T>
  const T* data() const {
    require_type(dtype_of<T>);
    return static_cast<const T*>(raw());
  }
  template <typename T>
  std::span<T> values() {
    return {data<T>(), static_cast<std::size_t>(numel())};
  }
  template <typename T>
  std::span<const T> values() const {
    return {data<T>(), static_cast<std::size_t>(numel())};
  }
  // The first element of a tensor on a GPU, for kernels.
  template <typename T>
  T* device_data() {
    require_on_gpu(dtype_of<T>);
    return static_cast<T*>(raw());
  }
  template <typename T>
  const T* device_data() const {
    require_on_gpu(dtype_of<T>);
    return static_cast<const T*>(raw());
  }
  // The first byte, whatever the type and device; nullptr on the meta device.
  void* raw();
  const void* raw() const;

  // The only element of a one-element floating-point tensor. On a GPU this waits for it.
  double item() const;

  // Views: they share elements.
  Tensor reshape(const Shape& shape) const;                      // same number of elements
  Tensor narrow(std::int64_t start, std::int64_t length) const;  // rows [start, start + length)
  Tensor operator[](std::int64_t index) const;                   // one leading row, its rank less 1

  // A copy with storage of its own.
  Tensor clone() const;
  // A copy with elements converted to `dtype` (floating-point types only); itself if it has it.
  Tensor to(DType dtype) const;
  // Itself if it is on `device`, else a copy there. Copies to the CPU wait for the GPU's work.
  Tensor to(Device device) const;

  void fill(double value);
  // Copies the elements of `source`, which has the same shape and type.
  void copy_from(const Tensor& source);
  // Adds the elements of `other`, which has the same shape and type (f32 or f64; on a GPU also
  // bf16 and f16).
  void add_(const Tensor& other);

  bool shares_storage_with(const Tensor& other) const { return storage_ == other.storage_; }

 private:
  void require_type(DType asked) const;
  void require_on_gpu(DType asked) const;

  std::shared_ptr<void> storage_;
  std::size_t offset_bytes_ = 0;
  Shape shape_;
  DType dtype_ = DType::f32;
  Device device_;
  bool defined_ = false;
};

// Throws "[op] argument has shape ...; expected ..." unless the shapes are equal.
void check_shape(std::string_view op, std::string_view argument, const Tensor& tensor,
                 const Shape& expected);
// Throws unless `tensor` has the dtype and device of `like`.
void check_same_kind(std::string_view op, std::string_view argument, const Tensor& tensor,
                     const Tensor& like);

// Throws unless `tensor` is a parameter that can meet `activation`: on its device, and of its
// dtype, or f32 where that is bf16 or f16.
void check_parameter_kind(std::string_view op, std::string_view argument, const Tensor& tensor,
                          const Tensor& activation);

template <typename T>
Tensor Tensor::from(std::span<const T> values, const Shape& shape) {
  check(static_cast<std::int64_t>(values.size()) == shape.numel(),
        "[Tensor::from] {} values were given for shape {}, which holds {}", values.size(),
        shape.str(), shape.numel());
  Tensor tensor = empty(shape, dtype_of<T>);
  std::copy(values.begin(), values.end(), tensor.data<T>());
  return tensor;
}

}  // namespace rondo
