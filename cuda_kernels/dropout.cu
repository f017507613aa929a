// y[i] = factor * x[i] where dropout_keeps(word i, threshold), else 0.
//
// Reads x and writes y once; the mask is made from its counter, here and again in backward, and
// never stored. A thread takes 8 consecutive elements, whose words are 2 Philox blocks, and which
// are one or more vectors of 16 bytes; on views that are not aligned it takes them one by one. Some
// 25 instructions an element stand beside 4 bytes (of 16-bit types), so this is close to both
// limits.
#include "cuda_kernels/dropout.h"

#include "core/cuda_vector.cuh"
#include "core/scalar/philox.h"

namespace rondo::cuda {
namespace {

constexpr int kGroup = 8;  // elements of a thread

// kOnes: all elements are 1, and `from` is not read.
template <typename A, bool kOnes>
__global__ void dropout_kernel(Dropout params, const A* from, A* to, std::int64_t count,
                               bool vectors) {
  using C = ComputeType<A>;
  const std::int64_t group = first_item();
  const std::int64_t begin = group * kGroup;
  if (begin >= count) {
    return;
  }
  const C factor = static_cast<C>(params.factor);
  bool keep[kGroup];
  for (int block = 0; block < kGroup / 4; ++block) {
    const Philox4 words = philox(params.seed, params.stream,
                                 static_cast<std::uint64_t>(group) * (kGroup / 4) + block);
    for (int i = 0; i < 4; ++i) {
      keep[4 * block + i] = dropout_keeps(words.word[i], params.threshold);
    }
  }
  // A product with 0 would keep the sign, infinity and NaN of what is dropped.
  const auto apply = [factor](C x, bool kept) { return kept ? x * factor : C(0); };
  if (vectors && begin + kGroup <= count) {
    C x[kGroup];
    if constexpr (!kOnes) {
      load_vector<kGroup>(from + begin, x);
    }
    for (int i = 0; i < kGroup; ++i) {
      x[i] = apply(kOnes ? C(1) : x[i], keep[i]);
    }
    store_vector<kGroup>(x, to + begin);
    return;
  }
  for (int i = 0; i < kGroup; ++i) {
    if (begin + i < count) {
      const C x = kOnes ? C(1) : to_compute(from[begin + i]);
      to[begin + i] = convert_element<A>(apply(x, keep[i]));
    }
  }
}

std::int64_t groups_of(std::int64_t count) { return (count + kGroup - 1) / kGroup; }

}  // namespace

template <typename A>
void dropout(const Dropout& params, const A* from, A* to, std::int64_t count, Stream stream) {
  launch("dropout", dropout_kernel<A, false>, grid_over(groups_of(count)), stream, params, from, to,
         count, takes_vectors(from, 0) && takes_vectors(to, 0));
}

template <typename A>
void dropout_mask(const Dropout& params, A* to, std::int64_t count, Stream stream) {
  launch("dropout_mask", dropout_kernel<A, true>, grid_over(groups_of(count)), stream, params,
         static_cast<const A*>(nullptr), to, count, takes_vectors(to, 0));
}

template void dropout(const Dropout&, const float*, float*, std::int64_t, Stream);
template void dropout(const Dropout&, const double*, double*, std::int64_t, Stream);
template void dropout(const Dropout&, const bfloat16*, bfloat16*, std::int64_t, Stream);
template void dropout(const Dropout&, const float16*, float16*, std::int64_t, Stream);

template void dropout_mask(const Dropout&, float*, std::int64_t, Stream);
template void dropout_mask(const Dropout&, double*, std::int64_t, Stream);
template void dropout_mask(const Dropout&, bfloat16*, std::int64_t, Stream);
template void dropout_mask(const Dropout&, float16*, std::int64_t, Stream);

}  // namespace rondo::cuda
