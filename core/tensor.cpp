#include "core/tensor.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/allocator.h"
#include "core/cuda.h"
#include "core/element.h"
#include "core/parallel.h"
#include "core/tensor_kernels.h"

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
    case DType::i32:
      return body(Type<std::int32_t>{});
    case DType::i64:
      return body(Type<std::int64_t>{});
    case DType::u8:
      return body(Type<std::uint8_t>{});
    case DType::boolean:
      return body(Type<bool>{});
    default:
      return dispatch_floating(dtype, "tensor", body);
  }
}

// The unsigned integer of `bytes` bytes.
template <std::size_t bytes>
using WordOf = std::conditional_t<
    bytes == 1, std::uint8_t,
    std::conditional_t<bytes == 2, std::uint16_t,
                       std::conditional_t<bytes == 4, std::uint32_t, std::uint64_t>>>;

// A copy that a GPU takes part in. One to the CPU is there when this returns.
void copy_with_cuda(const Tensor& source, Tensor& target) {
  if constexpr (kWithCuda) {
    const Device from = source.device();
    const Device to = target.device();
    if (from.is_cuda() && to.is_cuda()) {
      if (from == to) {
        cuda::copy_on_device(target.raw(), source.raw(), source.bytes(), cuda::stream(to));
      } else {
        target.copy_from(source.to(Device::cpu()));  // rare: a checkpoint that changes its GPU
      }
    } else if (to.is_cuda()) {
      cuda::upload(target.raw(), source.raw(), source.bytes(), to);
    } else {
      const cuda::Stream stream = cuda::stream(from);
      cuda::copy_to_host(target.raw(), source.raw(), source.bytes(), stream);
      cuda::synchronize(stream);
    }
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
  if (device.is_cpu()) {
    std::memset(tensor.raw(), 0, tensor.bytes());
  } else if (device.is_cuda()) {
    if constexpr (kWithCuda) {
      cuda::set_bytes(tensor.raw(), 0, tensor.bytes(), cuda::stream(device));
    }
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

void Tensor::require_on_gpu(DType asked) const {
  check(defined_ && asked == dtype_ && device_.is_cuda(),
        "[tensor] elements were asked for as {} on a GPU, but the tensor {}", name(asked),
        defined_ ? fmt::format("holds {} on {}", name(dtype_), device_.str()) : "is undefined");
}

double Tensor::item() const {
  check(defined_ && numel() == 1, "[item] expected a tensor of one element, found shape {}",
        shape_.str());
  const Tensor value = to(Device::cpu());
  return dispatch_floating(dtype_, "item", [&]<typename T>(Type<T>) {
    return convert_element<double>(*value.data<T>());
  });
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
  check(defined_, "[to] the tensor is undefined");
  check(is_floating(dtype_) && is_floating(dtype),
        "[to] {} cannot be converted to {}; only floating-point types convert", name(dtype_),
        name(dtype));
  Tensor converted = empty(shape_, dtype, device_);
  if (device_.is_meta()) {
    return converted;
  }
  dispatch_floating(dtype_, "to", [&]<typename From>(Type<From>) {
    dispatch_floating(dtype, "to", [&]<typename To>(Type<To>) {
      if constexpr (!std::is_same_v<From, To>) {
        const auto* source = static_cast<const From*>(raw());
        auto* target = static_cast<To*>(converted.raw());
        if (device_.is_cuda()) {
          if constexpr (kWithCuda) {
            cuda::convert(source, target, numel(), cuda::stream(device_));
          }
          return;
        }
        parallel_for(0, numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {
            target[i] = convert_element<To>(source[i]);
          }
        });
      }
    });
  });
  return converted;
}

Tensor Tensor::to(Device device) const {
  if (device == device_) {
    return *this;
  }
  check(!device.is_meta() && !device_.is_meta(), "[to] a tensor on {} cannot be copied to {}",
        device_.str(), device.str());
  Tensor copy = empty(shape_, dtype_, device);
  copy.copy_from(*this);
  return copy;
}

void Tensor::fill(double value) {
  if (device_.is_meta()) {
    return;
  }
  dispatch_storage(dtype_, [&]<typename T>(Type<T>) {
    const T element = convert_element<T>(value);
    if (device_.is_cuda()) {
      if constexpr (kWithCuda) {
        using Word = WordOf<sizeof(T)>;
        cuda::fill(static_cast<Word*>(raw()), std::bit_cast<Word>(element), numel(),
                   cuda::stream(device_));
      }
    } else {
      std::fill_n(data<T>(), numel(), element);
    }
  });
}

void Tensor::copy_from(const Tensor& source) {
  check(defined_ && source.defined_, "[copy_from] the {} is undefined",
        defined_ ? "source" : "target");
  check(source.shape_ == shape_ && source.dtype_ == dtype_,
        "[copy_from] {} of shape {} cannot be copied to {} of shape {}", name(source.dtype_),
        source.shape_.str(), name(dtype_), shape_.str());
  if (device_.is_meta() && source.device_.is_meta()) {
    return;
  }
  check(!device_.is_meta() && !source.device_.is_meta(),
        "[copy_from] elements on {} cannot be copied to {}", source.device_.str(), device_.str());
  if (device_.is_cuda() || source.device_.is_cuda()) {
    if constexpr (kWithCuda) {
      copy_with_cuda(source, *this);
    }
    return;
  }
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
  if (device_.is_cuda()) {
    if constexpr (kWithCuda) {
      dispatch_floating(dtype_, "add_", [&]<typename T>(Type<T>) {
        cuda::add_in_place(static_cast<T*>(raw()), static_cast<const T*>(other.raw()), numel(),
                           cuda::stream(device_));
      });
    }
    return;
  }
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

void check_parameter_kind(std::string_view op, std::string_view argument, const Tensor& tensor,
                          const Tensor& activation) {
  const DType type = activation.dtype();
  const DType expected = type == DType::bf16 || type == DType::f16 ? DType::f32 : type;
  check(tensor.dtype() == expected && tensor.device() == activation.device(),
        "[{}] {} is {} on {}; expected {} on {}, beside activations of {}", op, argument,
        name(tensor.dtype()), tensor.device().str(), name(expected), activation.device().str(),
        name(type));
}

}  // namespace rondo
