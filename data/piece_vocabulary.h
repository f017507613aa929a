// The pieces of words that a SentencePiece model knows (Kudo and Richardson 2018, arXiv
// 1808.06226).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rondo {

// Whether this Rondo was built with SentencePiece, which encoding needs, and reading a model.
bool has_sentencepiece();
// What to say and advise where that is false.
inline constexpr std::string_view kNoSentencePiece =
    "this Rondo was built without SentencePiece; install libsentencepiece-dev and build it again";

// The ids are those of the model; its </s> stands for the end of a line. A handle: copies share the
// model.
class PieceVocabulary {
 public:
  // From the content of a .model file. Throws Error for something else, for a model without </s>,
  // and without SentencePiece.
  static PieceVocabulary from_model(std::string model);

  std::int64_t size() const;
  // The content of the .model file.
  const std::string& model() const;
  std::int32_t line_end() const;

  // The ids of a line without its end. The model normalises: how many blanks there were, for one,
  // is lost. Several threads may encode at a time.
  std::vector<std::int32_t> encode_line(std::string_view line) const;
  // The ids of a text's lines, and </s> between them: a text that does not end in a line end is not
  // closed.
  std::vector<std::int32_t> encode(std::string_view text) const;
  // Throws Error unless every id is in the vocabulary.
  std::string decode(std::span<const std::int32_t> ids) const;
  // What `id` adds to the text after `previous`, none at the start. A piece may be one byte of a
  // letter. As SentencePiece decodes, but that a piece of nothing but a blank at a line's start
  // takes no more than itself away.
  std::string_view text_after(std::optional<std::int32_t> previous, std::int32_t id) const;

  friend bool operator==(const PieceVocabulary& a, const PieceVocabulary& b) {
    return a.data_ == b.data_ || a.model() == b.model();
  }

 private:
  struct Data;
  explicit PieceVocabulary(std::shared_ptr<const Data> data) : data_(std::move(data)) {}

  std::shared_ptr<const Data> data_;
};

}  // namespace rondo
