#include "core/tensor.h"

#include <algorithm>
#include <cstring>

#include "core/allocator.h"
#include "core/parallel.h"

namespace rondo {
namespace {

// Storage that goes back to its allocator.
std::shared_ptr<void> allocate_storage(std::size_t bytes, Device device) {
  CachingAllocator& from = allocator(device);
  return {from.allocate(bytes), [&from, bytes](void* block) { from.release(block, bytes); }};
}

// Calls `body` with the storage type of `dtype`, whatever it is.
template <typename Body>
void dispatch_storage(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body(Type<float>{});
    case DType::f64:
      return body(Type<double>{});
    case DType::bf16:
      return body(Type<bfloat16>{});
    case DType::f16:
      return body(Type<float16>{});
    case DType::i32:
      return body(Type<std::int32_t>{});
    case DType::i64:
      return body(Type<std::int64_t>{});
    case DType::u8:
      return body(Type<std::uint8_t>{});
    case DType::boolean:
      return body(Type<bool>{});
  }
}

template <typename To, typename From>
To convert(From value) {
  if constexpr (std::is_same_v<From, bfloat16> || std::is_same_v<From, float16>) {
    return convert<To>(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, bfloat16> || std::is_same_v<To, float16>) {
    return To(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

constexpr std::int64_t kGrain =
    1 << 15;  // elements below which a second thread costs more than it gives

}  // namespace

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.device_ = device;
  tensor.defined_ = true;
  if (!device.is_meta()) {
    require_available(device);
    tensor.storage_ = allocate_storage(tensor.bytes(), device);
  }
  return tensor;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  Tensor tensor = empty(shape, dtype, device);
  if (!device.is_meta()) {
    require_cpu("zeros", device);
    std::memset(tensor.raw(), 0, tensor.bytes());
  }
  return tensor;
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor tensor = empty(shape, dtype, device);
  tensor.fill(value);
  return tensor;
}

Tensor Tensor::wrap(void* data, const Shape& shape, DType dtype, std::shared_ptr<void> owner) {
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.defined_ = true;
  tensor.storage_ = std::shared_ptr<void>(std::move(owner), data);
  return tensor;
}

void* Tensor::raw() {
  return storage_ ? static_cast<std::byte*>(storage_.get()) + offset_bytes_ : nullptr;
}

const void* Tensor::raw() const {
  return storage_ ? static_cast<const std::byte*>(storage_.get()) + offset_bytes_ : nullptr;
}

void Tensor::require_type(DType asked) const {
  check(defined_, "[tensor] elements of an undefined tensor were asked for");
  check(asked == dtype_, "[tensor] elements were read as {}, but the tensor holds {}", name(asked),
        name(dtype_));
  require_cpu("tensor", device_);
}

double Tensor::item() const {
  check(defined_ && numel() == 1, "[item] expected a tensor of one element, found shape {}",
        shape_.str());
  return dispatch_compute(dtype_, "item",
                          [&]<typename T>(Type<T>) { return static_cast<double>(*data<T>()); });
}

Tensor Tensor::reshape(const Shape& shape) const {
  check(shape.numel() == numel(), "[reshape] shape {} cannot become {}: {} elements against {}",
        shape_.str(), shape.str(), numel(), shape.numel());
  Tensor view = *this;
  view.shape_ = shape;
  return view;
}

Tensor Tensor::narrow(std::int64_t start, std::int64_t length) const {
  check(shape_.rank() > 0, "[narrow] a tensor without dimensions has no rows");
  check(start >= 0 && length >= 0 && length <= shape_[0] - start,
        "[narrow] {} rows from row {} on do not exist in shape {}", length, start, shape_.str());
  Tensor view = *this;
  view.shape_ = shape_.with(0, length);
  view.offset_bytes_ +=
      static_cast<std::size_t>(start * shape_.without_leading().numel()) * size_of(dtype_);
  return view;
}

Tensor Tensor::operator[](std::int64_t index) const {
  Tensor row = narrow(index, 1);
  row.shape_ = shape_.without_leading();
  return row;
}

Tensor Tensor::clone() const {
  Tensor copy = empty(shape_, dtype_, device_);
  copy.copy_from(*this);
  return copy;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) {
    return *this;
  }
  check(is_floating(dtype_) && is_floating(dtype),
        "[to] {} cannot be converted to {}; only floating-point types convert", name(dtype_),
        name(dtype));
  require_cpu("to", device_);
  Tensor converted = empty(shape_, dtype, device_);
  dispatch_storage(dtype_, [&]<typename From>(Type<From>) {
    dispatch_storage(dtype, [&]<typename To>(Type<To>) {
      const From* source = data<From>();
      To* target = converted.data<To>();
      parallel_for(0, numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          target[i] = convert<To>(source[i]);
        }
      });
    });
  });
  return converted;
}

Tensor Tensor::to(Device device) const {
  if (device == device_) {
    return *this;
  }
  require_available(device);
  fail("[to] a tensor on {} cannot be copied to {}", device_.str(), device.str());
}

void Tensor::fill(double value) {
  if (device_.is_meta()) {
    return;
  }
  dispatch_storage(
      dtype_, [&]<typename T>(Type<T>) { std::fill_n(data<T>(), numel(), convert<T>(value)); });
}

void Tensor::copy_from(const Tensor& source) {
  check(source.shape_ == shape_ && source.dtype_ == dtype_,
        "[copy_from] {} of shape {} cannot be copied to {} of shape {}", name(source.dtype_),
        source.shape_.str(), name(dtype_), shape_.str());
  if (device_.is_meta() && source.device_.is_meta()) {
    return;
  }
  require_cpu("copy_from", device_);
  require_cpu("copy_from", source.device_);
  const auto* from = static_cast<const std::byte*>(source.raw());
  auto* target = static_cast<std::byte*>(raw());
  parallel_for(0, static_cast<std::int64_t>(bytes()), std::int64_t{1} << 18,
               [&](std::int64_t begin, std::int64_t end) {
                 std::memcpy(target + begin, from + begin, static_cast<std::size_t>(end - begin));
               });
}

void Tensor::add_(const Tensor& other) {
  check_shape("add_", "other", other, shape_);
  check_same_kind("add_", "other", other, *this);
  dispatch_compute(dtype_, "add_", [&]<typename T>(Type<T>) {
    T* target = data<T>();
    const T* addend = other.data<T>();
    parallel_for(0, numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        target[i] += addend[i];
      }
    });
  });
}

void check_shape(std::string_view op, std::string_view argument, const Tensor& tensor,
                 const Shape& expected) {
  if (tensor.defined() && tensor.shape() == expected) {
    return;  // without the text of a message: some callers must not allocate
  }
  check(tensor.defined(), "[{}] {} is missing; expected shape {}", op, argument, expected.str());
  fail("[{}] {} has shape {}; expected {}", op, argument, tensor.shape().str(), expected.str());
}

void check_same_kind(std::string_view op, std::string_view argument, const Tensor& tensor,
                     const Tensor& like) {
  check(tensor.dtype() == like.dtype() && tensor.device() == like.device(),
        "[{}] {} is {} on {}; expected {} on {}, as the other inputs", op, argument,
        name(tensor.dtype()), tensor.device().str(), name(like.dtype()), like.device().str());
}

}  // namespace rondo
