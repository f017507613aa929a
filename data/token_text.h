// The ids of a text, in memory that somebody else keeps.
#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "data/byte_vocabulary.h"

namespace rondo {

class TokenText {
 public:
  TokenText() = default;
  // Bytes, whose ids are those of `vocabulary`.
  TokenText(std::span<const std::uint8_t> bytes, ByteVocabulary vocabulary)
      : tokens_(Bytes{bytes, std::move(vocabulary)}), size_(bytes.size()) {}
  // Ids of a vocabulary of `vocabulary_size`.
  TokenText(std::span<const std::uint16_t> ids, std::int64_t vocabulary_size)
      : tokens_(Ids<std::uint16_t>{ids, vocabulary_size}), size_(ids.size()) {}
  TokenText(std::span<const std::uint32_t> ids, std::int64_t vocabulary_size)
      : tokens_(Ids<std::uint32_t>{ids, vocabulary_size}), size_(ids.size()) {}

  std::int64_t size() const { return static_cast<std::int64_t>(size_); }
  // The first `count` of it, or all if there are not so many.
  TokenText first(std::int64_t count) const;

  // The same bytes with the ids of another vocabulary; only for bytes.
  TokenText with_vocabulary(ByteVocabulary vocabulary) const;

  // Writes the ids of `count` tokens from `start` to to[0], to[stride], ... Throws Error for tokens
  // that are not there, and for one that the vocabulary lacks, naming it and its position.
  void write(std::int64_t start, std::int64_t count, std::int32_t* to, std::int64_t stride) const;
  // All of it.
  std::vector<std::int32_t> ids() const;
  // Throws the Error of `write` for a byte that the vocabulary lacks. Ids are looked at only when
  // they are written: a corpus of ids may be larger than one wants to read through.
  void require_known() const;

 private:
  struct Bytes {
    std::span<const std::uint8_t> bytes;
    ByteVocabulary vocabulary;
  };
  template <typename Id>
  struct Ids {
    std::span<const Id> ids;
    std::int64_t vocabulary_size;
  };

  std::variant<std::monostate, Bytes, Ids<std::uint16_t>, Ids<std::uint32_t>> tokens_;
  std::size_t size_ = 0;
};

}  // namespace rondo
