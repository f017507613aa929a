// GPU kernels of ops/attention_step.h: the keys and values kept of a batch of streams, and
// attention of one position over them. f32, device pointers, none null.
#pragma once

#include <cstdint>

#include "core/cuda.h"

namespace rondo::cuda {

// Positions that a block attends to at a time.
constexpr std::int64_t kAttentionStepPiece = 16;

// Puts positions into the cache: keys and values of `positions` of them, at slots first_slot and
// after.
struct AttentionStore {
  const float* kv;  // (positions, streams, 2 * heads * head_size), or 1 stream that serves all
  float* keys;      // (streams * heads, slots, head_size), = at these slots
  float* values;    // as keys
  std::int64_t positions, streams, heads, head_size, slots, first_slot;
  bool one_for_all;  // kv has 1 stream
};
void attention_store(const AttentionStore& store, Stream stream);

// out = softmax(scale * q k^T + distance scores) v over slots 0 to filled - 1. `rows` is streams *
// heads.
struct AttentionStep {
  const float* q;       // (rows, head_size)
  const float* keys;    // (rows, slots, head_size), aligned to 16 bytes
  const float* values;  // as keys
  float* partial;       // scratch, (rows, pieces, head_size): results over one piece each
  float* log_sums;      // scratch, (rows, pieces): logarithms of the pieces' sums of exponentials
  float* out;           // (rows, head_size), =
  std::int64_t rows, head_size, slots, filled;
  std::int64_t pieces;  // of `filled` slots
  float scale;
  // (rows, slots): what is added for a slot so many positions older than `newest`, going round the
  // slots; null for nothing.
  const float* distance_scores = nullptr;
  std::int64_t newest = 0;
};
void attention_step(const AttentionStep& step, Stream stream);

}  // namespace rondo::cuda
