#include "ops/dropout.h"

#include <algorithm>

#include "core/parallel.h"

namespace rondo {
namespace {

// Calls body(i, factor) for every i in [0, count), where factor is element i of the mask. Random
// words come in blocks of four; they are made many at a time, so that both loops are tight.
template <typename T, typename Body>
void for_each_factor(const RandomStream& stream, double p, std::int64_t count, const Body& body) {
  constexpr std::int64_t kBatch = 64;  // blocks made at a time
  constexpr std::int64_t kGrain = 1 << 12;
  const auto threshold = static_cast<float>(p);
  const T scale = static_cast<T>(1.0 / (1.0 - p));
  parallel_for(0, (count + 3) / 4, kGrain, [=](std::int64_t first, std::int64_t last) {
    std::uint32_t words[4 * kBatch];
    for (std::int64_t start = first; start < last; start += kBatch) {
      const std::int64_t blocks = std::min(kBatch, last - start);
      for (std::int64_t block = 0; block < blocks; ++block) {
        const Philox4 four =
            philox(stream.seed, stream.stream, static_cast<std::uint64_t>(start + block));
        std::copy_n(four.word, 4, words + 4 * block);
      }
      const std::int64_t offset = 4 * start;
      const std::int64_t elements = std::min(4 * blocks, count - offset);
      for (std::int64_t i = 0; i < elements; ++i) {
        body(offset + i, dropout_keeps(words[i], threshold) ? scale : T(0));
      }
    }
  });
}

Tensor masked(const Tensor& x, const RandomStream& stream, double p) {
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  dispatch_compute(x.dtype(), "dropout", [&]<typename T>(Type<T>) {
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for_each_factor<T>(stream, p, x.numel(),
                       [=](std::int64_t i, T factor) { to[i] = from[i] * factor; });
  });
  return y;
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
  require_cpu("dropout", x.device());
  const RandomStream stream = generator.next();
  return record("dropout", masked(x.value(), stream, p), {x}, [=](std::span<const Tensor> grads) {
    return std::vector<Tensor>{masked(grads[0], stream, p)};
  });
}

Tensor dropout_mask(const Shape& shape, double p, DType dtype, Generator& generator) {
  check_probability("dropout_mask", p);
  if (p == 0.0) {
    return Tensor::full(shape, 1.0, dtype);
  }
  const RandomStream stream = generator.next();
  Tensor mask = Tensor::empty(shape, dtype);
  dispatch_compute(dtype, "dropout_mask", [&]<typename T>(Type<T>) {
    T* to = mask.data<T>();
    for_each_factor<T>(stream, p, mask.numel(), [=](std::int64_t i, T factor) { to[i] = factor; });
  });
  return mask;
}

}  // namespace rondo
