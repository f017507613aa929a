#include "data/segment_feed.h"

#include <numeric>

#include "ops/elementwise.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

TEST_CASE("a feed gives the batcher's segments, in any order", "[trainers][segment_feed]") {
  std::vector<std::uint8_t> text(203);
  for (std::size_t i = 0; i < text.size(); ++i) {
    text[i] = static_cast<std::uint8_t>(i * i % 251);
  }
  std::vector<std::uint8_t> known(251);
  std::iota(known.begin(), known.end(), std::uint8_t{0});
  StreamOptions options;
  options.batch_size = 3;
  options.unroll = 8;  // 67 positions a stream: the last segment has 3
  const StreamBatcher batches(TokenText(text, ByteVocabulary(known)), options);
  REQUIRE(batches.segments() == 9);
  REQUIRE(batches.length(8) == 3);

  const auto feed = feed_segments(batches, test_device());
  for (const std::int64_t index : {0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 5, 5, 4, 8, 7, 0}) {
    INFO("segment " << index);
    const Segment expected = batches.segment(index);
    const Segment found = feed->segment(index);
    REQUIRE(found.inputs.device() == test_device());
    REQUIRE(same_bits(found.inputs, expected.inputs));
    REQUIRE(same_bits(found.targets, expected.targets));
  }
  // What comes out lasts until the next call, whatever has been copied meanwhile.
  const Segment held = feed->segment(3);
  const Tensor read = held.targets.clone();
  feed->segment(4);
  REQUIRE(same_bits(read, batches.segment(3).targets));
  REQUIRE_THAT(error_of([&] { feed->segment(9); }), ContainsSubstring("no segment 9 among 9"));
}
