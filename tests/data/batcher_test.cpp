#include "data/batcher.h"

#include <limits>

#include "data/corpus.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// 'A', 'B', ... in turn: the vocabulary id of the byte at position i is i.
struct Alphabet {
  explicit Alphabet(std::size_t count) : bytes(count), vocabulary({'x'}) {
    for (std::size_t i = 0; i < count; ++i) {
      bytes[i] = static_cast<std::uint8_t>('A' + i);
    }
    vocabulary = ByteVocabulary(bytes);
  }
  std::vector<std::uint8_t> bytes;
  ByteVocabulary vocabulary;
};

std::vector<std::int32_t> list(const Tensor& tensor) {
  const auto values = tensor.values<std::int32_t>();
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("streams are contiguous, time comes first, and targets are one byte on",
          "[data][batcher]") {
  // 12 bytes: 11 have a next one, cut to 2 streams of 5 positions.
  const Alphabet text(12);
  const StreamBatcher batcher(TokenText(text.bytes, text.vocabulary),
                              {.batch_size = 2, .unroll = 2});
  REQUIRE(batcher.positions() == 5);
  REQUIRE(batcher.segments() == 3);
  const Segment first = batcher.segment(0);
  REQUIRE(first.inputs.shape() == Shape{2, 2});
  REQUIRE(list(first.inputs) == std::vector<std::int32_t>{0, 5, 1, 6});
  REQUIRE(list(first.targets) == std::vector<std::int32_t>{1, 6, 2, 7});
  const Segment last = batcher.segment(2);
  REQUIRE(last.inputs.shape() == Shape{1, 2});
  REQUIRE(list(last.inputs) == std::vector<std::int32_t>{4, 9});
  // The first stream's last target is the second stream's first byte.
  REQUIRE(list(last.targets) == std::vector<std::int32_t>{5, 10});
}

TEST_CASE("segments cover every position once, whatever the sizes", "[data][batcher]") {
  for (const std::size_t count : {26U, 31U, 32U, 33U}) {
    const Alphabet text(count);
    for (const std::int64_t batch_size : {1, 2, 3, 7}) {
      for (const std::int64_t ranks : {1, 2, 3}) {
        for (const std::int64_t unroll : {1, 3, 4, 40}) {
          std::vector<std::int32_t> inputs;
          for (std::int64_t rank = 0; rank < ranks; ++rank) {
            const StreamBatcher batcher(TokenText(text.bytes, text.vocabulary),
                                        {.batch_size = batch_size,
                                         .unroll = unroll,
                                         .rank = rank,
                                         .ranks = ranks,
                                         .allow_short = true});
            std::vector<std::vector<std::int32_t>> streams(static_cast<std::size_t>(batch_size));
            for (std::int64_t i = 0; i < batcher.segments(); ++i) {
              const Segment segment = batcher.segment(i);
              const std::int64_t length = segment.inputs.size(0);
              REQUIRE((length == unroll || i + 1 == batcher.segments()));
              for (std::int64_t k = 0; k < segment.inputs.numel(); ++k) {
                const std::int32_t id = list(segment.inputs)[static_cast<std::size_t>(k)];
                REQUIRE(list(segment.targets)[static_cast<std::size_t>(k)] == id + 1);
                streams[static_cast<std::size_t>(k % batch_size)].push_back(id);
              }
            }
            for (const auto& stream : streams) {
              REQUIRE(static_cast<std::int64_t>(stream.size()) == batcher.positions());
              inputs.insert(inputs.end(), stream.begin(), stream.end());
            }
          }
          // Streams of all ranks, one after the other, are the text from its start.
          const auto used = static_cast<std::int64_t>(inputs.size());
          REQUIRE(used + batch_size * ranks > static_cast<std::int64_t>(count) - 1);
          for (std::int64_t i = 0; i < used; ++i) {
            REQUIRE(inputs[static_cast<std::size_t>(i)] == i);
          }
        }
      }
    }
  }
}

TEST_CASE("the tail can be dropped", "[data][batcher]") {
  const Alphabet text(12);
  const StreamBatcher batcher(TokenText(text.bytes, text.vocabulary),
                              {.batch_size = 2, .unroll = 2, .tail = Tail::drop});
  REQUIRE(batcher.segments() == 2);
  REQUIRE(batcher.positions() == 4);
  REQUIRE(batcher.segment(1).inputs.shape() == Shape{2, 2});
}

TEST_CASE("a stream that is a whole number of segments has no tail", "[data][batcher]") {
  const Alphabet text(13);
  for (const Tail tail : {Tail::keep, Tail::drop}) {
    const StreamBatcher batcher(TokenText(text.bytes, text.vocabulary),
                                {.batch_size = 2, .unroll = 3, .tail = tail});
    REQUIRE(batcher.segments() == 2);
    REQUIRE(batcher.positions() == 6);
  }
}

TEST_CASE("at batch 1 an evaluation predicts every byte but the first", "[data][batcher]") {
  const Corpus corpus = Corpus::open("builtin");
  const StreamBatcher batcher(corpus.split(Split::dev), {.batch_size = 1, .unroll = 1000});
  std::vector<std::int32_t> targets;
  for (std::int64_t i = 0; i < batcher.segments(); ++i) {
    const std::vector<std::int32_t> part = list(batcher.segment(i).targets);
    targets.insert(targets.end(), part.begin(), part.end());
  }
  const std::vector<std::int32_t> ids = corpus.split(Split::dev).ids();
  REQUIRE(targets == std::vector(ids.begin() + 1, ids.end()));
}

TEST_CASE("a text that is too short says what is needed", "[data][batcher]") {
  const Alphabet text(12);
  const auto error_with = [&](const StreamOptions& options) {
    return error_of([&] { StreamBatcher(TokenText(text.bytes, text.vocabulary), options); });
  };
  REQUIRE(error_with({.batch_size = 3, .unroll = 4}) ==
          "[StreamBatcher] the text has 12 tokens, but batch_size 3 x unroll 4 needs at least 13; "
          "lower unroll or batch_size, or use a longer text");
  REQUIRE_THAT(error_with({.batch_size = 3, .unroll = 2, .rank = 1, .ranks = 2}),
               ContainsSubstring("x 2 ranks needs at least 13") &&
                   ContainsSubstring("or the number of ranks"));
  REQUIRE_THAT(error_with({.batch_size = 12, .unroll = 99, .allow_short = true}),
               ContainsSubstring("batch_size 12 needs at least 13; lower batch_size,"));
  constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
  REQUIRE_THAT(error_with({.batch_size = huge, .unroll = huge, .ranks = huge}),
               ContainsSubstring("the text has 12 tokens"));

  // One byte more is enough, and what is allowed to be short is.
  const Alphabet longer(13);
  REQUIRE(StreamBatcher(TokenText(longer.bytes, longer.vocabulary), {.batch_size = 3, .unroll = 4})
              .segments() == 1);
  const StreamBatcher brief(TokenText(text.bytes, text.vocabulary),
                            {.batch_size = 11, .unroll = 99, .allow_short = true});
  REQUIRE(brief.segment(0).inputs.shape() == Shape{1, 11});

  for (const std::size_t count : {0U, 1U}) {
    REQUIRE_THAT(error_of([&] {
                   StreamBatcher(TokenText(std::span(text.bytes).first(count), text.vocabulary),
                                 {.allow_short = true});
                 }),
                 ContainsSubstring(fmt::format("the text has {} tokens", count)));
  }
}

TEST_CASE("a batcher refuses settings that make no sense", "[data][batcher]") {
  const Alphabet text(12);
  const auto error_with = [&](const StreamOptions& options) {
    return error_of([&] { StreamBatcher(TokenText(text.bytes, text.vocabulary), options); });
  };
  REQUIRE_THAT(error_with({.batch_size = 0}), ContainsSubstring("batch_size is 0"));
  REQUIRE_THAT(error_with({.unroll = -1}), ContainsSubstring("unroll is -1"));
  REQUIRE_THAT(error_with({.rank = 2, .ranks = 2}), ContainsSubstring("rank is 2 of 2"));
  REQUIRE_THAT(error_with({.rank = -1}), ContainsSubstring("rank is -1 of 1"));
  REQUIRE_THAT(error_with({.ranks = 0}), ContainsSubstring("rank is 0 of 0"));

  const StreamBatcher batcher(TokenText(text.bytes, text.vocabulary), {.unroll = 4});
  REQUIRE_THAT(error_of([&] { batcher.segment(batcher.segments()); }),
               ContainsSubstring("no segment 3 among 3"));
  REQUIRE_THAT(error_of([&] { batcher.segment(-1); }), ContainsSubstring("no segment -1"));
}

TEST_CASE("a batcher refuses a text with bytes that the vocabulary lacks", "[data][batcher]") {
  const Alphabet text(12);
  REQUIRE_THAT(
      error_of([&] {
        StreamBatcher(TokenText(text.bytes, ByteVocabulary({'A', 'B', 'C'})), {.unroll = 4});
      }),
      ContainsSubstring("0x44 ('D') at position 3"));
}
