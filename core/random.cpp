#include "core/random.h"

namespace rondo {
namespace {

void fill_stream(Tensor& tensor, double low, double high, const RandomStream& stream) {
  dispatch_compute(tensor.dtype(), "fill_uniform", [&]<typename T>(Type<T>) {
    std::uint64_t index = 0;
    for (T& value : tensor.values<T>()) {
      value = static_cast<T>(low +
                             (high - low) * static_cast<double>(unit_float(stream.word(index++))));
    }
  });
}

}  // namespace

void fill_uniform(Tensor& tensor, double low, double high, Generator& generator) {
  const RandomStream stream = generator.next();  // drawn on every device: the count must not differ
  if (tensor.device().is_meta()) {
    return;
  }
  if (tensor.device().is_cuda()) {
    // Made on the CPU, for the same bits: models start alike on every device.
    Tensor values = Tensor::empty(tensor.shape(), tensor.dtype());
    fill_stream(values, low, high, stream);
    tensor.copy_from(values);
    return;
  }
  fill_stream(tensor, low, high, stream);
}

}  // namespace rondo
