#include "core/random.h"

namespace rondo {

void fill_uniform(Tensor& tensor, double low, double high, Generator& generator) {
  const RandomStream stream = generator.next();  // drawn on every device: the count must not differ
  if (tensor.device().is_meta()) {
    return;
  }
  dispatch_compute(tensor.dtype(), "fill_uniform", [&]<typename T>(Type<T>) {
    std::uint64_t index = 0;
    for (T& value : tensor.values<T>()) {
      value = static_cast<T>(low +
                             (high - low) * static_cast<double>(unit_float(stream.word(index++))));
    }
  });
}

}  // namespace rondo
