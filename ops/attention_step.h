// Attention of one new position over the last positions, for generation.
#pragma once

#include "core/tensor.h"

namespace rondo {

// What makes scores depend on distances (ops/relative_attention.h), f32.
struct DistanceScores {
  Tensor r;                            // (D, n): D - 1, ..., 1, 0, with D the positions kept
  Tensor content_bias, position_bias;  // u and v, (heads, head size)
};

// Keys and values of the last positions of a batch of streams. A new one takes the place of the
// oldest. f32. What it does for a position may be replayed (core/replay.h).
class AttentionCache {
 public:
  // `positions` are kept, that of the query included; n = `size` over all heads. On `device`, as
  // is all that the other functions take.
  AttentionCache(std::int64_t streams, std::int64_t size, std::int64_t num_heads,
                 std::int64_t positions, Device device = Device::cpu());

  // From now on scores depend on distances: ops/relative_attention.h, with a window of the
  // positions kept less 1.
  void tell_distances(const DistanceScores& distances);
  // Forgets all, then keeps kv (M, B, 2n), M at most the positions kept, or (M, 1, 2n): the same
  // for every stream.
  void fill(const Tensor& kv);
  // The next position: kv (B, 2n), keys, then values.
  void append(const Tensor& kv);
  // Other keys and values for the newest position.
  void replace_newest(const Tensor& kv);
  // out (B, n) = softmax(q k^T / sqrt(head size)) v over all positions kept, head by head: what
  // ops/attention.h computes for one query. Keys and values are read once. Allocates nothing.
  void attend(const Tensor& q, Tensor& out);

 private:
  // kv, M positions of `given` streams (one each, or 1 for all), for the slots from `first` on the
  // CPU, and for the kernel `on_gpu`, which knows where they go.
  template <typename OnGpu>
  void store(const Tensor& kv, std::int64_t given, std::int64_t first, OnGpu&& on_gpu);
  void store_row(const float* kv, std::int64_t stream, std::int64_t slot);
  void attend_on_cpu(const Tensor& q, float scale, Tensor& out);
  // Scores of the distances of piece `piece`.
  void score_distances(std::int64_t head, std::int64_t piece);
  // Attention of one head of one stream over piece `piece` of its positions.
  void attend_piece(const float* q, std::int64_t head, std::int64_t piece);

  std::int64_t streams_, heads_, head_size_, slots_, pieces_;
  std::int64_t filled_ = 0, newest_ = -1;  // on a GPU, count_ has them, and counts on in a Replay
  Tensor count_;                           // cuda::AttentionCount; on a GPU only
  Tensor keys_, values_;                   // (B * heads, slots, head size)
  Tensor queries_;  // (B * heads, head size), scaled; with distances, and on the CPU
  // With distances alone: rows of distances 0, 1, ... (heads, slots, head size), biases (heads,
  // head size), and q + v, scaled, and scores of distances as above.
  Tensor r_, content_bias_, position_bias_, distance_queries_, distance_scores_;
  Tensor scores_;    // (B * heads, slots); on the CPU only
  Tensor partial_;   // (B * heads, pieces, head size): results over one piece each
  Tensor log_sums_;  // (B * heads, pieces): the logarithm of each piece's sum of exponentials
};

}  // namespace rondo
