#include "data/piece_vocabulary.h"

#include <algorithm>
#include <optional>

#include "data/vocabulary.h"
#include "tests/support/testing.h"
#ifdef RONDO_TEST_SENTENCEPIECE
#include "tests/support/piece_model.h"
#endif

using namespace rondo;
using namespace rondo::testing;

#ifdef RONDO_TEST_SENTENCEPIECE
TEST_CASE("a text becomes pieces of words, and a text again", "[data][pieces]") {
  const std::string type = GENERATE("unigram", "bpe", "char");
  CAPTURE(type);
  const Vocabulary vocabulary =
      PieceVocabulary::from_model(train_piece_model(piece_lines(), 20, {{"model_type", type}}));
  REQUIRE(vocabulary.unit() == Unit::pieces);
  REQUIRE(vocabulary.size() == (type == "char" ? 12 : 20));  // there are no more letters

  const std::string text =
      GENERATE("", "the cat", "the cat\n", "\n", "\n\nthe cats\n\nreads", "a\nb");
  CAPTURE(text);
  const std::vector<std::int32_t> ids = vocabulary.encode(text);
  // The lines, and </s> between them.
  std::vector<std::int32_t> expected;
  std::size_t start = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', start)) {
    for (const std::int32_t id :
         vocabulary.pieces().encode_line(std::string_view(text).substr(start, end - start))) {
      expected.push_back(id);
    }
    expected.push_back(vocabulary.pieces().line_end());
    start = end + 1;
  }
  for (const std::int32_t id : vocabulary.pieces().encode_line(text.substr(start))) {
    expected.push_back(id);
  }
  REQUIRE(ids == expected);
  if (text != "a\nb") {  // no piece has a b
    REQUIRE(vocabulary.decode(ids) == text);
  }
}

TEST_CASE("what a model normalises or does not know is lost", "[data][pieces]") {
  const auto pieces = PieceVocabulary::from_model(train_piece_model(piece_lines(), 20));
  REQUIRE(pieces.decode(pieces.encode("  the   cat ")) == "the cat");
  REQUIRE(pieces.decode(pieces.encode("the Q")) ==
          "the  \xe2\x81\x87 ");  // as SentencePiece itself
}

TEST_CASE("letters that are not in the pieces are taken as bytes where a model has them",
          "[data][pieces]") {
  const auto pieces = PieceVocabulary::from_model(
      train_piece_model(piece_lines(), 276, {{"byte_fallback", "true"}}));
  const std::string text = "the \xe2\x82\xac cat";  // a euro sign
  const std::vector<std::int32_t> ids = pieces.encode(text);
  REQUIRE(pieces.decode(ids) == text);
  std::string grown;
  std::vector<std::string> parts;
  std::optional<std::int32_t> previous;
  for (const std::int32_t id : ids) {
    parts.emplace_back(pieces.text_after(previous, id));
    grown += parts.back();
    previous = id;
  }
  REQUIRE(grown == text);
  REQUIRE(std::ranges::find(parts, "\xe2") != parts.end());
}

TEST_CASE("pieces are decoded as SentencePiece does", "[data][pieces]") {
  const std::string type = GENERATE("unigram", "bpe");
  const std::string prefix = GENERATE("true", "false");
  const std::string model =
      train_piece_model(piece_lines(), 20,
                        {{"model_type", type}, {"add_dummy_prefix", prefix}, {"unk_surface", "?"}});
  const auto pieces = PieceVocabulary::from_model(model);
  sentencepiece::SentencePieceProcessor processor;
  REQUIRE(processor.LoadFromSerializedProto(model).ok());
  const auto decoded = [&](const std::vector<std::int32_t>& ids) {
    std::string text;
    REQUIRE(processor.Decode(ids, &text).ok());
    return text;
  };
  const std::string line = GENERATE("the cats reread", "cat", "a Q reader Q", "Q");
  CAPTURE(type, prefix, line);
  REQUIRE(pieces.decode(pieces.encode_line(line)) == decoded(pieces.encode_line(line)));
  const auto blank = static_cast<std::int32_t>(processor.PieceToId("\xe2\x96\x81"));
  for (std::int32_t first = 0; first < pieces.size(); ++first) {
    for (std::int32_t second = 0; second < pieces.size(); ++second) {
      if (first != pieces.line_end() && second != pieces.line_end() && first != blank) {
        CAPTURE(first, second);
        REQUIRE(pieces.decode(std::vector{first, second}) == decoded({first, second}));
      }
    }
  }
}

TEST_CASE("a text starts as the model has it", "[data][pieces]") {
  // Without a blank put before every line, one that is there belongs to the text.
  const auto pieces = PieceVocabulary::from_model(train_piece_model(
      piece_lines(), 20, {{"add_dummy_prefix", "false"}, {"remove_extra_whitespaces", "false"}}));
  REQUIRE(pieces.decode(pieces.encode(" the cat\n  reads")) == " the cat\n  reads");
}

TEST_CASE("a model without an end of lines is refused", "[data][pieces]") {
  const std::string model = train_piece_model(piece_lines(), 20, {{"eos_id", "-1"}});
  REQUIRE_THAT(error_of([&] { PieceVocabulary::from_model(model); }),
               ContainsSubstring("no </s>") && ContainsSubstring("--eos_id"));
}

TEST_CASE("what is not a SentencePiece model is refused", "[data][pieces]") {
  std::string model = train_piece_model(piece_lines(), 20);
  SECTION("text") { model = "the cat\n"; }
  SECTION("nothing") { model = ""; }
  SECTION("a part of one") { model.resize(model.size() / 2); }
  REQUIRE_THAT(error_of([&] { PieceVocabulary::from_model(model); }),
               ContainsSubstring("not a SentencePiece model"));
}

TEST_CASE("ids outside of the pieces are refused", "[data][pieces]") {
  const auto pieces = PieceVocabulary::from_model(train_piece_model(piece_lines(), 20));
  const std::int32_t id = GENERATE(-1, 20);
  REQUIRE_THAT(error_of([&] { pieces.decode(std::vector{id}); }),
               ContainsSubstring("not in the vocabulary of 20 pieces"));
}
#endif

TEST_CASE("without SentencePiece, its models are refused with advice", "[data][pieces]") {
  if (has_sentencepiece()) {
    return;  // the cases above are the ones then
  }
  REQUIRE_THAT(error_of([&] { PieceVocabulary::from_model("model"); }),
               ContainsSubstring("libsentencepiece-dev"));
}
