#include "data/word_vocabulary.h"

#include "data/utf8.h"
#include "data/vocabulary.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

using Ids = std::vector<std::int32_t>;

WordVocabulary counted(std::string_view text, std::int64_t least_count = 1) {
  WordCounter counter;
  for_each_line(text, [&](std::string_view line) {
    for_each_word(line, [&](std::string_view word) { counter.add(word); });
    counter.add(kEndOfLine);
  });
  return counter.vocabulary(kEndOfLine, least_count);
}

}  // namespace

TEST_CASE("words are ranked by count, and ties by first appearance", "[data][vocabulary]") {
  // "the" 3, "cat" and "A" 2, the others once; <eos>, 3 times, comes first all the same.
  const std::string_view text = "the cat A sat\nthe A the\nmat cat a\n";
  REQUIRE(counted(text).lines() == "<eos>\nthe\ncat\nA\nsat\nmat\na\n");
  // 'sat', 'mat' and 'a' are left out.
  REQUIRE(counted(text, 2).lines() == "<eos>\n<unk>\nthe\ncat\nA\n");
  // An <unk> that the text has keeps its place, however rare.
  REQUIRE(counted("b b b <unk>\n", 2).lines() == "<eos>\nb\n<unk>\n");
}

TEST_CASE("white space of any width parts words, and only line ends part lines",
          "[data][vocabulary]") {
  std::vector<std::string> words;
  for_each_word(" \ta  b\tc\r", [&](std::string_view word) { words.emplace_back(word); });
  REQUIRE(words == std::vector<std::string>{"a", "b", "c"});
  std::vector<std::string> lines;
  for_each_line("one\n\n two", [&](std::string_view line) { lines.emplace_back(line); });
  REQUIRE(lines == std::vector<std::string>{"one", "", " two"});
  for_each_line("", [&](std::string_view line) { lines.emplace_back(line); });
  REQUIRE(lines.size() == 3);
}

TEST_CASE("texts become ids and texts again", "[data][vocabulary]") {
  const Vocabulary words = WordVocabulary({"<eos>", "the", "cat", "<unk>"});
  REQUIRE(words.unit() == Unit::words);
  REQUIRE(words.size() == 4);
  REQUIRE(words.encode("the  cat\n\nthe dog") == Ids{1, 2, 0, 0, 1, 3});
  REQUIRE(words.encode("") == Ids{});
  REQUIRE(words.encode("\n") == Ids{0});
  REQUIRE(words.decode(Ids{1, 2, 0, 0, 1, 3}) == "the cat\n\nthe <unk>");
  REQUIRE_THAT(error_of([&] {
                 words.decode(Ids{1, 4});
               }),
               ContainsSubstring("id 4 is not in a vocabulary of 4 words"));
  REQUIRE_THAT(error_of([&] { words.decode(Ids{-1}); }), ContainsSubstring("id -1"));
}

TEST_CASE("one id at a time gives the text of all", "[data][vocabulary]") {
  const Vocabulary words = WordVocabulary({"<eos>", "the", "cat"});
  const Vocabulary bytes = ByteVocabulary({'\n', 'a', 'b'});
  for (const Vocabulary& vocabulary : {words, bytes}) {
    const Ids ids = {1, 2, 0, 0, 2, 1, 0};
    std::string text;
    std::optional<std::int32_t> previous;
    for (const std::int32_t id : ids) {
      text += vocabulary.text_after(previous, id);
      previous = id;
    }
    REQUIRE(text == vocabulary.decode(ids));
  }
}

TEST_CASE("<S> ends lines where there is no <eos>", "[data][vocabulary]") {
  const WordVocabulary words({"<UNK>", "<S>", "word"});
  REQUIRE(words.encode("word\nother") == Ids{2, 1, 0});
  REQUIRE(words.decode(Ids{1, 2, 1, 2}) == "\nword\nword");
  // Where both are, <S> is a word.
  REQUIRE(WordVocabulary({"<S>", "<eos>"}).encode("<S>\n") == Ids{0, 1});
}

TEST_CASE("an unknown word is named with its line where nothing stands for it",
          "[data][vocabulary]") {
  const WordVocabulary words({"<eos>", "the"});
  REQUIRE_THAT(error_of([&] { words.encode("the\nthe dog"); }), ContainsSubstring("'dog'") &&
                                                                    ContainsSubstring("line 2") &&
                                                                    ContainsSubstring("<unk>"));
  REQUIRE_FALSE(words.find("dog").has_value());
  REQUIRE(WordVocabulary({"<UNK>", "<eos>"}).find("dog") == 0);
}

TEST_CASE("a vocabulary of words refuses what could not be read back", "[data][vocabulary]") {
  REQUIRE_THAT(error_of([] {
                 WordVocabulary({"a", "b", "a"});
               }),
               ContainsSubstring("'a' is there twice, as entries 1 and 3"));
  REQUIRE_THAT(error_of([] { WordVocabulary({"a", ""}); }), ContainsSubstring("entry 2"));
  REQUIRE_THAT(error_of([] { WordVocabulary({"a b"}); }), ContainsSubstring("white space"));
  REQUIRE_THAT(error_of([] { WordVocabulary({"a\nb"}); }), ContainsSubstring("line end"));
  REQUIRE_THAT(error_of([] { WordVocabulary::from_lines(""); }),
               ContainsSubstring("at least one word"));
  REQUIRE_THAT(error_of([] { WordVocabulary::from_lines("a\n\nb\n"); }),
               ContainsSubstring("entry 2"));
  const WordVocabulary words = WordVocabulary::from_lines("a 17\n  b\t3\nc");
  REQUIRE(words.lines() == "a\nb\nc\n");
  REQUIRE(words == WordVocabulary({"a", "b", "c"}));
  REQUIRE_FALSE(words == WordVocabulary({"a", "c", "b"}));
  // Another unit is another vocabulary, and says so when it is taken for one.
  REQUIRE_FALSE(Vocabulary(words) == Vocabulary(ByteVocabulary({'a', 'b', 'c'})));
  REQUIRE_THAT(error_of([&] { static_cast<void>(Vocabulary(words).bytes()); }),
               ContainsSubstring("one of words, not of bytes"));
}

TEST_CASE("what is not UTF-8 is found where it begins", "[data][utf8]") {
  REQUIRE_FALSE(find_invalid_utf8("").has_value());
  REQUIRE_FALSE(find_invalid_utf8("plain text of some length").has_value());
  REQUIRE_FALSE(find_invalid_utf8("\u00e9\u20ac\U0001F600 \U0010FFFF\ud7ff\ue000").has_value());
  const std::string before = "twelve bytes";
  for (const char* bad :
       {"\x80", "\xC1\xBF", "\xE2\x82", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xC3(", "\xFF"}) {
    INFO(fmt::format("{:02x}", static_cast<unsigned char>(bad[0])));
    REQUIRE(find_invalid_utf8(bad) == 0);
    REQUIRE(find_invalid_utf8(before + bad) == before.size());
    REQUIRE(find_invalid_utf8(before + bad + before) == before.size());
  }
}
