#include "data/segment_feed.h"

#include <array>

#include "core/cuda.h"
#include "core/error.h"
#include "core/log.h"

namespace rondo {
namespace {

class CpuFeed final : public SegmentFeed {
 public:
  explicit CpuFeed(const StreamBatcher& batches) : batches_(batches) {}

  Segment segment(std::int64_t index) override { return batches_.segment(index); }

 private:
  const StreamBatcher& batches_;
};

// Two places on the GPU, filled in turn on the stream of copies. A place is filled again when the
// work on its last segment is done, and its pinned memory when it has been copied from: so the CPU
// is never more than two segments ahead.
class GpuFeed final : public SegmentFeed {
 public:
  GpuFeed(const StreamBatcher& batches, Device device)
      : batches_(batches),
        device_(device),
        places_{Place(batches, device), Place(batches, device)} {
    for (Place& place : places_) {
      place.used.record(cuda::stream(device));  // whoever had its memory before
    }
  }
  ~GpuFeed() override {
    for (const Place& place : places_) {
      try {
        place.copied.synchronize();  // the memory will be others'
      } catch (const Error& problem) {
        spdlog::warn("a copy to {} failed: {}", device_.str(), problem.what());
      }
    }
  }
  GpuFeed(const GpuFeed&) = delete;
  GpuFeed& operator=(const GpuFeed&) = delete;

  Segment segment(std::int64_t index) override {
    const cuda::Stream stream = cuda::stream(device_);
    places_[current_].used.record(stream);
    current_ = 1 - current_;
    Place& place = places_[current_];
    if (place.index != index) {
      fill(place, index);
    }
    place.copied.wait_on(stream);
    fill(places_[1 - current_], (index + 1) % batches_.segments());
    const std::int64_t steps = batches_.length(index);
    return {place.ids[0].narrow(0, steps), place.ids[1].narrow(0, steps)};
  }

 private:
  struct Place {
    Place(const StreamBatcher& batches, Device device)
        : ids(Tensor::empty({2, batches.unroll(), batches.batch_size()}, DType::i32, device)),
          pinned(ids.bytes()),
          copied(device),
          used(device) {}

    Tensor ids;  // inputs, targets
    cuda::PinnedBuffer pinned;
    cuda::Event copied;
    cuda::Event used;
    std::int64_t index = -1;  // the segment that it holds
  };

  void fill(Place& place, std::int64_t index) {
    place.copied.synchronize();
    const std::int64_t half = place.ids[0].numel();
    auto* const ids = static_cast<std::int32_t*>(place.pinned.data());
    batches_.write(index, ids, ids + half);
    place.index = index;
    const cuda::Stream copies = cuda::copy_stream(device_);
    place.used.wait_on(copies);
    cuda::copy_to_device(place.ids.raw(), ids, place.ids.bytes(), copies);
    place.copied.record(copies);
  }

  const StreamBatcher& batches_;
  Device device_;
  std::array<Place, 2> places_;
  std::size_t current_ = 0;
};

}  // namespace

std::unique_ptr<SegmentFeed> feed_segments(const StreamBatcher& batches, Device device) {
  if constexpr (kWithCuda) {
    if (device.is_cuda()) {
      return std::make_unique<GpuFeed>(batches, device);
    }
  }
  require_cpu("feed_segments", device);
  return std::make_unique<CpuFeed>(batches);
}

}  // namespace rondo
