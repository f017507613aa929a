// What attention with and without relative positions share on the CPU: how heads are spread over
// threads; masks, softmax and dropout of one query of one head.
#pragma once

#include <algorithm>
#include <limits>

#include "core/parallel.h"
#include "ops/attention_call.h"
#include "ops/cpu/dropout_mask.h"
#include "ops/cpu/softmax.h"

namespace rondo {

// Calls body(task) for every task: side by side when there are enough of them for the threads, else
// one after the other with all threads inside the products.
template <typename Body>
void for_each_task(std::int64_t count, const Body& body) {
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      body(task);
    }
  };
  if (count >= num_threads()) {
    parallel_for(0, count, 1, run);
  } else {
    run(0, count);
  }
}

// Turns the scores of query i over `shown` into probabilities; the rest of the block's range stays
// or becomes zero. `row` is the row of all C scores.
template <typename T>
void softmax_row(const AttentionCall& a, std::int64_t b, std::int64_t i, ContextRange shown,
                 T* row) {
  const ContextRange visible = a.visible(i, i + 1);
  std::fill(row + shown.begin, row + visible.begin, T(0));
  std::fill(row + visible.end, row + shown.end, T(0));
  if (a.mask.additive.defined()) {
    const T* additive = a.mask.additive.data<T>() + i * a.context;
    for (std::int64_t j = visible.begin; j < visible.end; ++j) {
      row[j] += additive[j];
    }
  }
  if (a.mask.key_padding.defined()) {
    const bool* padding = a.mask.key_padding.data<bool>();
    for (std::int64_t j = visible.begin; j < visible.end; ++j) {
      if (padding[j * a.batch + b]) {
        row[j] = -std::numeric_limits<T>::infinity();
      }
    }
  }
  cpu::softmax_in_place(row + visible.begin, visible.size());
}

// Bytes of the dropout mask of one query.
inline std::int64_t mask_bytes(const AttentionCall& a) {
  return cpu::dropout_mask_bytes(a.context);
}

// The dropout mask of query i over `shown`, as bits of its whole row of C positions.
inline void make_mask(const AttentionCall& a, std::int64_t head_index, std::int64_t i,
                      ContextRange shown, std::uint8_t* bits) {
  const std::int64_t first = shown.begin / cpu::kDropoutGroup;
  const std::int64_t last = cpu::dropout_groups(shown.end);
  const std::int64_t row = (head_index * a.queries + i) * cpu::dropout_groups(a.context);
  cpu::make_dropout_mask(a.stream, static_cast<float>(a.dropout), row + first, last - first,
                         bits + cpu::dropout_mask_bytes(first * cpu::kDropoutGroup));
}

// to[j] = from[j] / (1 - p) or 0, j in `shown`, as the bits of the row say. Begins at a whole byte
// of them: a few elements before `shown` are moved too, which nobody reads.
template <typename T>
void drop(const AttentionCall& a, const std::uint8_t* bits, ContextRange shown, const T* from,
          T* to) {
  const std::int64_t begin = shown.begin / 8 * 8;
  cpu::apply_dropout_mask(bits + begin / 8, static_cast<T>(1.0 / (1.0 - a.dropout)), from + begin,
                          shown.end - begin, to + begin);
}

}  // namespace rondo
