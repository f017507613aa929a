#include "data/byte_vocabulary.h"

#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

TEST_CASE("a byte vocabulary numbers the bytes of all texts in increasing order",
          "[data][vocabulary]") {
  const std::array texts = {bytes_of("cab"), bytes_of(""), bytes_of("a\xff\n")};
  const ByteVocabulary vocabulary = ByteVocabulary::of(texts);
  REQUIRE(vocabulary.bytes() == std::vector<std::uint8_t>{'\n', 'a', 'b', 'c', 0xff});
  REQUIRE(vocabulary.size() == 5);
  for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
    REQUIRE(vocabulary.id(vocabulary.byte(id)) == id);
  }
  REQUIRE_FALSE(vocabulary.id('d').has_value());
  REQUIRE(vocabulary == ByteVocabulary(vocabulary.bytes()));
  REQUIRE_FALSE(vocabulary == ByteVocabulary({'a', 'b'}));
}

TEST_CASE("a byte vocabulary encodes and decodes", "[data][vocabulary]") {
  const ByteVocabulary vocabulary({0, '\n', 'a', 'b', 0xff});
  const std::string text("ab\n\0\xff", 5);
  const std::vector<std::int32_t> ids = vocabulary.encode(text);
  REQUIRE(ids == std::vector<std::int32_t>{2, 3, 1, 0, 4});
  REQUIRE(vocabulary.decode(ids) == text);
  REQUIRE(vocabulary.encode("").empty());
  REQUIRE(vocabulary.decode({}).empty());
}

TEST_CASE("a vocabulary may hold all 256 bytes", "[data][vocabulary]") {
  std::string all;
  for (int value = 0; value < 256; ++value) {
    all.push_back(static_cast<char>(value));
  }
  const std::array texts = {bytes_of(all)};
  const ByteVocabulary vocabulary = ByteVocabulary::of(texts);
  REQUIRE(vocabulary.size() == 256);
  REQUIRE(vocabulary.decode(vocabulary.encode(all)) == all);
}

TEST_CASE("a byte vocabulary explains what it refuses", "[data][vocabulary]") {
  REQUIRE_THAT(error_of([] { ByteVocabulary vocabulary({}); }), ContainsSubstring("at least one"));
  REQUIRE_THAT(error_of([] {
                 ByteVocabulary vocabulary({'a', 'a'});
               }),
               ContainsSubstring("0x61 ('a') at place 1"));
  REQUIRE_THAT(error_of([] {
                 ByteVocabulary vocabulary({'b', 7, 'c'});
               }),
               ContainsSubstring("0x07 at place 1"));
  const std::array texts = {bytes_of("")};
  REQUIRE_THAT(error_of([&] { ByteVocabulary::of(texts); }), ContainsSubstring("at least one"));

  const ByteVocabulary vocabulary({'a', 'b'});
  REQUIRE_THAT(error_of([&] { vocabulary.encode("abca"); }),
               ContainsSubstring("0x63 ('c') at position 2") && ContainsSubstring("the 2 bytes"));
  REQUIRE_THAT(error_of([&] { vocabulary.byte(2); }), ContainsSubstring("id 2"));
  REQUIRE_THAT(error_of([&] {
                 vocabulary.decode(std::vector<std::int32_t>{0, -1});
               }),
               ContainsSubstring("id -1"));
}
