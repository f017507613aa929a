#include "ops/attention_step.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "cuda_kernels/attention_step.h"
#include "cuda_kernels/relative_attention.h"
#include "ops/cpu/rows.h"
#include "ops/cpu/softmax.h"
#include "ops/device.h"

namespace rondo {
namespace {

// Positions are cut into pieces of this many, whatever the thread count, so that threads share the
// work of a single stream and no bit depends on how. A GPU shares it over more.
constexpr std::int64_t kPiece = 64;
// Elements of keys and values worth a thread of their own.
constexpr std::int64_t kElements = std::int64_t{1} << 15;

std::int64_t pieces_of(std::int64_t positions, Device device) {
  const std::int64_t piece = device.is_cuda() ? cuda::kAttentionStepPiece : kPiece;
  return (positions + piece - 1) / piece;
}

cuda::AttentionCount* as_count(Tensor& count) {
  return reinterpret_cast<cuda::AttentionCount*>(count.device_data<std::int64_t>());
}

}  // namespace

AttentionCache::AttentionCache(std::int64_t streams, std::int64_t size, std::int64_t num_heads,
                               std::int64_t positions, Device device)
    : streams_(streams), heads_(num_heads), slots_(positions) {
  check(streams >= 1 && positions >= 1 && num_heads >= 1 && size >= 1 && size % num_heads == 0,
        "[AttentionCache] {} streams of {} positions, size {} in {} heads are not possible",
        streams, positions, size, num_heads);
  head_size_ = size / num_heads;
  pieces_ = pieces_of(slots_, device);
  const std::int64_t all = streams_ * heads_;
  const auto make = [&](const Shape& shape) { return Tensor::empty(shape, DType::f32, device); };
  keys_ = make({all, slots_, head_size_});
  values_ = make({all, slots_, head_size_});
  if (device.is_cuda()) {
    static_assert(sizeof(cuda::AttentionCount) == 2 * sizeof(std::int64_t));
    count_ = Tensor::zeros({2}, DType::i64, device);
  } else {
    queries_ = make({all, head_size_});
    scores_ = make({all, slots_});
  }
  partial_ = make({all, pieces_, head_size_});
  log_sums_ = make({all, pieces_});
}

void AttentionCache::tell_distances(const DistanceScores& distances) {
  check_shape("AttentionCache", "r", distances.r, {slots_, heads_ * head_size_});
  check_shape("AttentionCache", "u", distances.content_bias, {heads_, head_size_});
  check_shape("AttentionCache", "v", distances.position_bias, {heads_, head_size_});
  const Device device = keys_.device();
  content_bias_ = distances.content_bias;
  position_bias_ = distances.position_bias;
  const Tensor given = distances.r.to(Device::cpu());
  Tensor r = Tensor::empty({heads_, slots_, head_size_});
  for (std::int64_t h = 0; h < heads_; ++h) {
    for (std::int64_t distance = 0; distance < slots_; ++distance) {
      const float* from = given.data<float>() + ((slots_ - 1 - distance) * heads_ + h) * head_size_;
      std::copy_n(from, head_size_, r.data<float>() + (h * slots_ + distance) * head_size_);
    }
  }
  r_ = r.to(device);
  queries_ = Tensor::empty({streams_ * heads_, head_size_}, DType::f32, device);
  distance_queries_ = Tensor::empty({streams_ * heads_, head_size_}, DType::f32, device);
  distance_scores_ = Tensor::empty({streams_ * heads_, slots_}, DType::f32, device);
}

void AttentionCache::store_row(const float* kv, std::int64_t stream, std::int64_t slot) {
  const std::int64_t size = heads_ * head_size_;
  for (std::int64_t h = 0; h < heads_; ++h) {
    const std::int64_t to = ((stream * heads_ + h) * slots_ + slot) * head_size_;
    std::copy_n(kv + h * head_size_, head_size_, keys_.data<float>() + to);
    std::copy_n(kv + size + h * head_size_, head_size_, values_.data<float>() + to);
  }
}

template <typename OnGpu>
void AttentionCache::store(const Tensor& kv, std::int64_t given, std::int64_t first,
                           OnGpu&& on_gpu) {
  const std::int64_t width = 2 * heads_ * head_size_;
  const std::int64_t positions = kv.numel() / (given * width);
  const auto on_cpu = [&] {
    for (std::int64_t i = 0; i < positions; ++i) {
      for (std::int64_t s = 0; s < streams_; ++s) {
        store_row(kv.data<float>() + (i * given + (given == 1 ? 0 : s)) * width, s, first + i);
      }
    }
  };
  run_on(keys_.device(), on_cpu, [&](auto stream) {
    on_gpu(cuda::AttentionStore{kv.device_data<float>(), keys_.device_data<float>(),
                                values_.device_data<float>(), as_count(count_), positions, streams_,
                                heads_, head_size_, slots_, given == 1},
           stream);
  });
}

void AttentionCache::fill(const Tensor& kv) {
  const std::int64_t width = 2 * heads_ * head_size_;
  check(kv.shape().rank() == 3 && kv.size(0) <= slots_ &&
            (kv.size(1) == streams_ || kv.size(1) == 1) && kv.size(2) == width,
        "[AttentionCache] kv has shape {}; expected (M, {}, {}) or (M, 1, {}) with M at most {}",
        kv.shape().str(), streams_, width, width, slots_);
  filled_ = kv.size(0);
  newest_ = filled_ - 1;
  store(kv, kv.size(1), 0, [](auto... call) { cuda::attention_fill(call...); });
}

void AttentionCache::append(const Tensor& kv) {
  check_shape("AttentionCache", "kv", kv, {streams_, 2 * heads_ * head_size_});
  newest_ = (newest_ + 1) % slots_;
  filled_ = std::min(filled_ + 1, slots_);
  store(kv, streams_, newest_, [](auto... call) { cuda::attention_append(call...); });
}

void AttentionCache::replace_newest(const Tensor& kv) {
  check_shape("AttentionCache", "kv", kv, {streams_, 2 * heads_ * head_size_});
  check(newest_ >= 0, "[AttentionCache] there is no position yet");
  store(kv, streams_, newest_, [](auto... call) { cuda::attention_replace_newest(call...); });
}

void AttentionCache::attend_piece(const float* q, std::int64_t head, std::int64_t piece) {
  const std::int64_t begin = piece * kPiece;
  const std::int64_t count = std::min(kPiece, filled_ - begin);
  const std::int64_t first = head * slots_ + begin;
  float* scores = scores_.data<float>() + first;
  cpu::rows_dot(keys_.data<float>() + first * head_size_, count, head_size_, q, 1, scores, count);
  if (r_.defined()) {
    const float* distance_scores = distance_scores_.data<float>() + head * slots_;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t distance = newest_ - (begin + i);
      scores[i] += distance_scores[distance < 0 ? distance + slots_ : distance];
    }
  }
  log_sums_.data<float>()[head * pieces_ + piece] = cpu::softmax_in_place(scores, count);
  cpu::weighted_rows(values_.data<float>() + first * head_size_, count, head_size_, scores,
                     partial_.data<float>() + (head * pieces_ + piece) * head_size_);
}

void AttentionCache::score_distances(std::int64_t head, std::int64_t piece) {
  const std::int64_t begin = piece * kPiece;
  const std::int64_t count = std::min(kPiece, filled_ - begin);
  cpu::rows_dot(r_.data<float>() + (head % heads_ * slots_ + begin) * head_size_, count, head_size_,
                distance_queries_.data<float>() + head * head_size_, 1,
                distance_scores_.data<float>() + head * slots_ + begin, count);
}

void AttentionCache::attend(const Tensor& q, Tensor& out) {
  check_shape("AttentionCache", "q", q, {streams_, heads_ * head_size_});
  check_shape("AttentionCache", "out", out, q.shape());
  check(filled_ > 0, "[AttentionCache] there is no position yet");
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_size_)));
  // Heads of a row follow one another, so (B, n) is (B * heads, head size) as it lies.
  run_on(
      keys_.device(), [&] { attend_on_cpu(q, scale, out); },
      [&](auto stream) {
        const std::int64_t rows = streams_ * heads_;
        cuda::AttentionStep step{q.device_data<float>(),
                                 keys_.device_data<float>(),
                                 values_.device_data<float>(),
                                 as_count(count_),
                                 partial_.device_data<float>(),
                                 log_sums_.device_data<float>(),
                                 out.device_data<float>(),
                                 rows,
                                 head_size_,
                                 slots_,
                                 pieces_,
                                 scale};
        if (r_.defined()) {
          cuda::add_two_biases<float>(
              step.q, content_bias_.device_data<float>(), position_bias_.device_data<float>(),
              queries_.device_data<float>(), distance_queries_.device_data<float>(), streams_,
              heads_ * head_size_, stream);
          cuda::distance_step(
              {distance_queries_.device_data<float>(), r_.device_data<float>(), step.count,
               distance_scores_.device_data<float>(), rows, heads_, head_size_, slots_, scale},
              stream);
          step.q = queries_.device_data<float>();
          step.distance_scores = distance_scores_.device_data<float>();
        }
        cuda::attention_step(step, stream);
      });
}

void AttentionCache::attend_on_cpu(const Tensor& q, float scale, Tensor& out) {
  const float* from = q.data<float>();
  const auto scaled_queries = [&](const Tensor& bias, Tensor& to) {
    const float* b = bias.defined() ? bias.data<float>() : nullptr;
    const std::int64_t period = heads_ * head_size_;
    for (std::int64_t i = 0; i < q.numel(); ++i) {
      to.data<float>()[i] = scale * (b == nullptr ? from[i] : from[i] + b[i % period]);
    }
  };
  scaled_queries(content_bias_, queries_);
  const std::int64_t pieces = pieces_of(filled_, Device::cpu());
  const std::int64_t all = streams_ * heads_;
  const std::int64_t grain = kElements / (2 * kPiece * head_size_) + 1;
  if (r_.defined()) {
    scaled_queries(position_bias_, distance_queries_);
    parallel_for(0, all * pieces, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        score_distances(i / pieces, i % pieces);
      }
    });
  }
  parallel_for(0, all * pieces, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t head = i / pieces;
      attend_piece(queries_.data<float>() + head * head_size_, head, i % pieces);
    }
  });
  for (std::int64_t head = 0; head < all; ++head) {
    // A piece counts by its share of all exponentials.
    float* shares = log_sums_.data<float>() + head * pieces_;
    cpu::softmax_in_place(shares, pieces);
    cpu::weighted_rows(partial_.data<float>() + head * pieces_ * head_size_, pieces, head_size_,
                       shares, out.data<float>() + head * head_size_);
  }
}

}  // namespace rondo
