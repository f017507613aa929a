// What the ids of a text stand for: bytes or words.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "data/byte_vocabulary.h"
#include "data/word_vocabulary.h"

namespace rondo {

enum class Unit : std::uint8_t { bytes, words };

// "bytes" or "words".
std::string_view name(Unit unit);

class Vocabulary {
 public:
  Vocabulary(ByteVocabulary bytes) : kind_(std::move(bytes)) {}  // NOLINT: both are vocabularies
  Vocabulary(WordVocabulary words) : kind_(std::move(words)) {}  // NOLINT

  Unit unit() const { return static_cast<Unit>(kind_.index()); }
  std::int64_t size() const;
  // These two throw Error for another unit.
  const ByteVocabulary& bytes() const;
  const WordVocabulary& words() const;

  // The ids of `text`. Throws Error naming the first thing that is not known, and where it is.
  std::vector<std::int32_t> encode(std::string_view text) const;
  // Throws Error unless every id is in the vocabulary.
  std::string decode(std::span<const std::int32_t> ids) const;
  // What `id` adds to the text of `previous`, none at the start of a text.
  std::string text_after(std::optional<std::int32_t> previous, std::int32_t id) const;

  friend bool operator==(const Vocabulary&, const Vocabulary&) = default;

 private:
  std::variant<ByteVocabulary, WordVocabulary> kind_;  // in the order of Unit
};

}  // namespace rondo
