#include "data/batcher.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace rondo {

StreamBatcher::StreamBatcher(TokenText text, const StreamOptions& options)
    : text_(std::move(text)), options_(options) {
  check(options.batch_size >= 1, "[StreamBatcher] batch_size is {}; it must be at least 1",
        options.batch_size);
  check(options.unroll >= 1, "[StreamBatcher] unroll is {}; it must be at least 1", options.unroll);
  check(options.ranks >= 1 && options.rank >= 0 && options.rank < options.ranks,
        "[StreamBatcher] rank is {} of {}; ranks count from 0", options.rank, options.ranks);

  const std::int64_t count = text_.size();
  // Divided twice, because a product of two silly settings could overflow.
  stream_length_ = count > 0 ? (count - 1) / options.batch_size / options.ranks : 0;
  const bool full = options.tail == Tail::drop || !options.allow_short;
  const std::int64_t shortest = full ? options.unroll : 1;
  if (stream_length_ < shortest) {
    const double needed = static_cast<double>(options.batch_size) *
                              static_cast<double>(options.ranks) * static_cast<double>(shortest) +
                          1.0;
    fail(
        "[StreamBatcher] the text has {} tokens, but batch_size {}{}{} needs at least {:.0f}; "
        "lower "
        "{}batch_size{}, or use a longer text",
        count, options.batch_size, full ? fmt::format(" x unroll {}", options.unroll) : "",
        options.ranks > 1 ? fmt::format(" x {} ranks", options.ranks) : "", needed,
        full ? "unroll or " : "", options.ranks > 1 ? " or the number of ranks" : "");
  }
  const std::int64_t full_segments = stream_length_ / options.unroll;
  const bool keeps_rest = options.tail == Tail::keep && stream_length_ % options.unroll != 0;
  segments_ = full_segments + (keeps_rest ? 1 : 0);
  positions_ = keeps_rest ? stream_length_ : full_segments * options.unroll;
  text_.require_known();
}

std::int64_t StreamBatcher::length(std::int64_t index) const {
  check(index >= 0 && index < segments_, "[StreamBatcher] there is no segment {} among {}", index,
        segments_);
  return std::min(options_.unroll, positions_ - index * options_.unroll);
}

Segment StreamBatcher::segment(std::int64_t index) const {
  const Shape shape = {length(index), options_.batch_size};
  Segment segment{Tensor::empty(shape, DType::i32), Tensor::empty(shape, DType::i32)};
  write(index, segment.inputs.data<std::int32_t>(), segment.targets.data<std::int32_t>());
  return segment;
}

void StreamBatcher::write(std::int64_t index, std::int32_t* inputs, std::int32_t* targets) const {
  const std::int64_t steps = length(index);
  const std::int64_t start = index * options_.unroll;
  const std::int64_t batch = options_.batch_size;
  for (std::int64_t b = 0; b < batch; ++b) {
    const std::int64_t stream = options_.rank * batch + b;
    const std::int64_t first = stream * stream_length_ + start;
    text_.write(first, steps, inputs + b, batch);
    text_.write(first + 1, steps, targets + b, batch);
  }
}

}  // namespace rondo
