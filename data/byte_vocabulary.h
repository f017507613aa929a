// The bytes that a byte-level language model knows.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rondo {

// Distinct byte values in increasing order; the id of a byte is its place in that order, from 0
// (srupp paper's Enwik8 models: V = the distinct bytes of the whole corpus).
class ByteVocabulary {
 public:
  // Throws Error unless `bytes` is non-empty and strictly increasing.
  explicit ByteVocabulary(std::vector<std::uint8_t> bytes);
  // Every byte that occurs in any of `texts`. Throws Error when there is none.
  static ByteVocabulary of(std::span<const std::span<const std::uint8_t>> texts);

  std::int64_t size() const { return static_cast<std::int64_t>(bytes_.size()); }
  // What the constructor takes.
  const std::vector<std::uint8_t>& bytes() const { return bytes_; }

  // The id of `byte`, or none if it is not in the vocabulary.
  std::optional<std::int32_t> id(std::uint8_t byte) const;
  // Throws Error unless 0 <= id < size().
  std::uint8_t byte(std::int32_t id) const;

  // One id per byte. Throws Error naming the first byte that is unknown and its position.
  std::vector<std::int32_t> encode(std::string_view text) const;
  // Throws Error unless every id is in the vocabulary.
  std::string decode(std::span<const std::int32_t> ids) const;
  // Throws the error of encode without encoding.
  void require_known(std::span<const std::uint8_t> text) const;

  friend bool operator==(const ByteVocabulary& a, const ByteVocabulary& b) {
    return a.bytes_ == b.bytes_;
  }

 private:
  std::vector<std::uint8_t> bytes_;
  std::array<std::int16_t, 256> ids_;  // by byte; -1: unknown
};

}  // namespace rondo
