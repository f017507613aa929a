// Attention of one new position over the last positions, for generation.
#pragma once

#include "core/tensor.h"

namespace rondo {

// Keys and values of the last positions of a batch of streams. With no positional encoding the
// order of the positions means nothing, so a new one takes the place of the oldest. f32.
class AttentionCache {
 public:
  // `positions` are kept, that of the query included; n = `size` over all heads. On `device`, as
  // is all that the other functions take.
  AttentionCache(std::int64_t streams, std::int64_t size, std::int64_t num_heads,
                 std::int64_t positions, Device device = Device::cpu());

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
  // Puts kv, M positions of `given` streams (one each, or 1 for all), into the slots from `first`.
  void store(const Tensor& kv, std::int64_t given, std::int64_t first);
  void store_row(const float* kv, std::int64_t stream, std::int64_t slot);
  void attend_on_cpu(const Tensor& q, float scale, Tensor& out);
  // Attention of one head of one stream over piece `piece` of its positions.
  void attend_piece(const float* q, std::int64_t head, std::int64_t piece);

  std::int64_t streams_, heads_, head_size_, slots_, pieces_;
  std::int64_t filled_ = 0, newest_ = -1;  // known on the CPU, wherever the positions are
  Tensor keys_, values_;                   // (B * heads, slots, head size)
  Tensor queries_;                         // (B * heads, head size), scaled; on the CPU only
  Tensor scores_;                          // (B * heads, slots); on the CPU only
  Tensor partial_;   // (B * heads, pieces, head size): results over one piece each
  Tensor log_sums_;  // (B * heads, pieces): the logarithm of each piece's sum of exponentials
};

}  // namespace rondo
