// Segments of a text, where the model is.
#pragma once

#include <memory>

#include "core/device.h"
#include "data/batcher.h"

namespace rondo {

class SegmentFeed {
 public:
  virtual ~SegmentFeed() = default;
  // Segment `index`. On a GPU it is there for the work that is asked for before the next call; it
  // has most often been copied before, for the one that follows in the text is copied while this
  // one is worked on. The ids are known to the vocabulary: nobody has to look at them again.
  virtual Segment segment(std::int64_t index) = 0;
};

// The segments of `batches`, which must outlive the feed, on `device`.
std::unique_ptr<SegmentFeed> feed_segments(const StreamBatcher& batches, Device device);

}  // namespace rondo
