// Text cut into streams and segments for truncated backpropagation through time.
#pragma once

#include <cstdint>
#include <span>

#include "core/tensor.h"
#include "data/token_text.h"

namespace rondo {

// What becomes of a stream's last positions when they do not fill a segment. The authors' script
// keeps them as a shorter segment, in training as in evaluation.
enum class Tail : std::uint8_t { keep, drop };

struct StreamOptions {
  std::int64_t batch_size = 1;  // streams, B
  std::int64_t unroll = 1;      // positions of a full segment, T
  std::int64_t rank = 0;        // which of `ranks` processes this is
  std::int64_t ranks = 1;
  Tail tail = Tail::keep;
  // Streams shorter than one full segment: for evaluation, whose window may exceed a short split.
  bool allow_short = false;
};

// The inputs (T, B) and targets (T, B) of one segment, ids as i32, time first. The target of a
// position is the token after it.
struct Segment {
  Tensor inputs;
  Tensor targets;
};

// The positions that have a next token (all but the last) are cut to a multiple of ranks x B and
// laid out as ranks x B contiguous streams; this rank has the rank-th block of B. Segment i is
// positions [i T, (i + 1) T) of every stream, so a state carried from one segment to the next meets
// each stream in order. The target of a stream's last position is the first token of the next
// stream, as in the authors' script.
class StreamBatcher {
 public:
  // What `text` is a view of must outlive the batcher. Throws Error when there are too few tokens
  // for the options, and for a byte that its vocabulary lacks.
  StreamBatcher(TokenText text, const StreamOptions& options);

  // Segments of one pass over the data; only the last can be shorter than the others.
  std::int64_t segments() const { return segments_; }
  // Positions of one stream in all segments: B x positions() targets in one pass.
  std::int64_t positions() const { return positions_; }
  std::int64_t batch_size() const { return options_.batch_size; }
  std::int64_t unroll() const { return options_.unroll; }
  // The positions of segment `index`. This and the next two throw Error unless 0 <= index <
  // segments().
  std::int64_t length(std::int64_t index) const;
  // Segment `index`, on the CPU.
  Segment segment(std::int64_t index) const;
  // Writes the ids of segment `index`, length(index) x batch_size() each, to memory of the
  // caller's. Throws Error for an id that is out of range.
  void write(std::int64_t index, std::int32_t* inputs, std::int32_t* targets) const;

 private:
  TokenText text_;
  StreamOptions options_;
  std::int64_t stream_length_ = 0;
  std::int64_t positions_ = 0;
  std::int64_t segments_ = 0;
};

}  // namespace rondo
