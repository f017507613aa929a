#include "core/random.h"

#include <algorithm>

#include "core/parallel.h"

namespace rondo {
namespace {

void fill_stream(Tensor& tensor, double low, double high, const RandomStream& stream) {
  constexpr std::int64_t kWords = 4;  // of a block of Philox
  constexpr std::int64_t kBlocksOfThread = std::int64_t{1} << 12;
  dispatch_compute(tensor.dtype(), "fill_uniform", [&]<typename T>(Type<T>) {
    T* const to = tensor.data<T>();
    const std::int64_t count = tensor.numel();
    parallel_for(0, (count + kWords - 1) / kWords, kBlocksOfThread,
                 [=](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t block = begin; block < end; ++block) {
                     const Philox4 words =
                         philox(stream.seed, stream.stream, static_cast<std::uint64_t>(block));
                     const std::int64_t first = block * kWords;
                     for (std::int64_t i = 0; i < std::min(kWords, count - first); ++i) {
                       to[first + i] = static_cast<T>(
                           low + (high - low) * static_cast<double>(unit_float(words.word[i])));
                     }
                   }
                 });
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
