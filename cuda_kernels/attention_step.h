// GPU kernels of ops/attention_step.h: the keys and values kept of a batch of streams, and
// attention of one position over them. f32, device pointers, none null.
#pragma once

#include <cstdint>

#include "core/cuda.h"

namespace rondo::cuda {

// Positions that a block attends to at a time.
constexpr std::int64_t kAttentionStepPiece = 16;

// How many positions a cache has been given. It is on the device, so that steps recorded as a graph
// count on.
struct AttentionCount {
  std::int64_t positions;
  std::uint32_t blocks_done;  // of the kernel that is counting; 0 between kernels
};

// Positions for the cache, which keeps position p in slot p mod slots.
struct AttentionStore {
  const float* kv;  // (positions, streams, 2 * heads * head_size), or 1 stream that serves all
  float* keys;      // (streams * heads, slots, head_size), = at these positions
  float* values;    // as keys
  AttentionCount* count;
  std::int64_t positions, streams, heads, head_size, slots;
  bool one_for_all;  // kv has 1 stream
};
// Begins anew with these positions, at most as many as slots; sets the count.
void attention_fill(const AttentionStore& store, Stream stream);
// One position more, in place of the oldest if all slots are taken; raises the count.
void attention_append(const AttentionStore& store, Stream stream);
// Writes over the newest position.
void attention_replace_newest(const AttentionStore& store, Stream stream);

// out = softmax(scale * q k^T + distance scores) v over the positions kept. `rows` is streams *
// heads.
struct AttentionStep {
  const float* q;       // (rows, head_size)
  const float* keys;    // (rows, slots, head_size), aligned to 16 bytes
  const float* values;  // as keys
  const AttentionCount* count;
  float* partial;   // scratch, (rows, pieces, head_size): results over one piece each
  float* log_sums;  // scratch, (rows, pieces): logarithms of the pieces' sums of exponentials
  float* out;       // (rows, head_size), =
  std::int64_t rows, head_size, slots;
  std::int64_t pieces;  // of all slots
  float scale;
  // (rows, slots): what is added for a position so many before the newest; null for nothing.
  const float* distance_scores = nullptr;
};
void attention_step(const AttentionStep& step, Stream stream);

}  // namespace rondo::cuda
