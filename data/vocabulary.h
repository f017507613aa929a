// What the ids of a text stand for: bytes, words or pieces of words.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "data/byte_vocabulary.h"
#include "data/piece_vocabulary.h"
#include "data/word_vocabulary.h"

namespace rondo {

enum class Unit : std::uint8_t { bytes, words, pieces };
inline constexpr std::array kUnits = {Unit::bytes, Unit::words, Unit::pieces};

// "bytes", "words" or "pieces".
std::string_view name(Unit unit);

class Vocabulary {
 public:
  Vocabulary(ByteVocabulary bytes) : kind_(std::move(bytes)) {}     // NOLINT: all are vocabularies
  Vocabulary(WordVocabulary words) : kind_(std::move(words)) {}     // NOLINT
  Vocabulary(PieceVocabulary pieces) : kind_(std::move(pieces)) {}  // NOLINT

  Unit unit() const { return static_cast<Unit>(kind_.index()); }
  std::int64_t size() const;
  // These throw Error for another unit.
  const ByteVocabulary& bytes() const;
  const WordVocabulary& words() const;
  const PieceVocabulary& pieces() const;

  // The ids of `text`. Throws Error naming the first thing that is not known, and where it is.
  std::vector<std::int32_t> encode(std::string_view text) const;
  // Throws Error unless every id is in the vocabulary.
  std::string decode(std::span<const std::int32_t> ids) const;
  // What `id` adds to the text of `previous`, none at the start of a text.
  std::string text_after(std::optional<std::int32_t> previous, std::int32_t id) const;

  friend bool operator==(const Vocabulary&, const Vocabulary&) = default;

 private:
  std::variant<ByteVocabulary, WordVocabulary, PieceVocabulary> kind_;  // in the order of Unit
};

}  // namespace rondo
