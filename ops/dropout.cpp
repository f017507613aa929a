#include "ops/dropout.h"

#include <algorithm>

#include "core/parallel.h"
#include "cuda_kernels/dropout.h"
#include "ops/cpu/dropout_mask.h"
#include "ops/device.h"

namespace rondo {
namespace {

constexpr std::int64_t kGrain = 1 << 9;  // groups of elements a thread at least takes

// Which of `count` elements are kept, as bits.
Tensor mask_bits(const RandomStream& stream, double p, std::int64_t count) {
  Tensor bits = Tensor::empty({cpu::dropout_mask_bytes(count)}, DType::u8);
  auto* to = bits.data<std::uint8_t>();
  parallel_for(0, cpu::dropout_groups(count), kGrain, [=](std::int64_t begin, std::int64_t end) {
    cpu::make_dropout_mask(stream, static_cast<float>(p), begin, end - begin,
                           to + cpu::dropout_mask_bytes(begin * cpu::kDropoutGroup));
  });
  return bits;
}

// to = from, element by element times 1 / (1 - p) or zero, as the bits say.
template <typename T>
void apply(const Tensor& bits, double p, const T* from, std::int64_t count, T* to) {
  const auto* mask = bits.data<std::uint8_t>();
  const T factor = static_cast<T>(1.0 / (1.0 - p));
  parallel_for(0, cpu::dropout_groups(count), kGrain, [=](std::int64_t first, std::int64_t last) {
    const std::int64_t begin = first * cpu::kDropoutGroup;
    const std::int64_t end = std::min(last * cpu::kDropoutGroup, count);
    cpu::apply_dropout_mask(mask + begin / 8, factor, from + begin, end - begin, to + begin);
  });
}

Variable dropout_on_cpu(const Variable& x, double p, const RandomStream& random) {
  const Tensor bits = mask_bits(random, p, x.value().numel());
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_compute(x.dtype(), "dropout", [&]<typename T>(Type<T>) {
    apply(bits, p, x.value().data<T>(), y.numel(), y.data<T>());
  });
  return record("dropout", std::move(y), {x}, [=](std::span<const Tensor> grads) {
    Tensor grad_x = grads[0];  // ours, so it can be changed in place
    dispatch_compute(grad_x.dtype(), "dropout", [&]<typename T>(Type<T>) {
      apply(bits, p, grad_x.data<T>(), grad_x.numel(), grad_x.data<T>());
    });
    return std::vector<Tensor>{grad_x};
  });
}

cuda::Dropout gpu_params(double p, const RandomStream& random) {
  return {random.seed, random.stream, dropout_threshold(static_cast<float>(p)), 1.0 / (1.0 - p)};
}

// to = from with a mask; they may be the same.
void apply_on_gpu(const cuda::Dropout& params, const Tensor& from, Tensor& to) {
  run_on(
      from.device(), [] {},
      [&](auto stream) {
        dispatch_floating(from.dtype(), "dropout", [&]<typename A>(Type<A>) {
          cuda::dropout(params, from.device_data<A>(), to.device_data<A>(), to.numel(), stream);
        });
      });
}

Variable dropout_on_gpu(const Variable& x, double p, const RandomStream& random) {
  const cuda::Dropout params = gpu_params(p, random);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  apply_on_gpu(params, x.value(), y);
  return record("dropout", std::move(y), {x}, [params](std::span<const Tensor> grads) {
    Tensor grad_x = grads[0];  // ours, so it can be changed in place
    apply_on_gpu(params, grad_x, grad_x);
    return std::vector<Tensor>{grad_x};
  });
}

void check_probability(std::string_view op, double p) {
  check(p >= 0.0 && p < 1.0, "[{}] p is {}; expected a probability in [0, 1)", op, p);
}

}  // namespace

Variable dropout(const Variable& x, double p, Generator& generator) {
  check_probability("dropout", p);
  if (p == 0.0) {
    return x;
  }
  const RandomStream random = generator.next();
  return x.device().is_cuda() ? dropout_on_gpu(x, p, random) : dropout_on_cpu(x, p, random);
}

Tensor dropout_mask(const Shape& shape, double p, DType dtype, Generator& generator,
                    Device device) {
  check_probability("dropout_mask", p);
  if (p == 0.0) {
    return Tensor::full(shape, 1.0, dtype, device);
  }
  const RandomStream random = generator.next();
  Tensor mask;
  run_on(
      device,
      [&] {
        const Tensor bits = mask_bits(random, p, shape.numel());
        mask = Tensor::full(shape, 1.0, dtype);
        dispatch_compute(dtype, "dropout_mask", [&]<typename T>(Type<T>) {
          apply(bits, p, mask.data<T>(), mask.numel(), mask.data<T>());
        });
      },
      [&](auto stream) {
        mask = Tensor::empty(shape, dtype, device);
        dispatch_floating(dtype, "dropout_mask", [&]<typename A>(Type<A>) {
          cuda::dropout_mask(gpu_params(p, random), mask.device_data<A>(), mask.numel(), stream);
        });
      });
  return mask;
}

}  // namespace rondo
