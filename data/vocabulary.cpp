#include "data/vocabulary.h"

#include <array>

#include "core/error.h"

namespace rondo {

std::string_view name(Unit unit) {
  constexpr std::array<std::string_view, 3> names = {"bytes", "words", "pieces"};
  return names[static_cast<std::size_t>(unit)];
}

std::int64_t Vocabulary::size() const {
  return std::visit([](const auto& kind) { return kind.size(); }, kind_);
}

const ByteVocabulary& Vocabulary::bytes() const {
  check(unit() == Unit::bytes, "[Vocabulary] it is one of {}, not of bytes", name(unit()));
  return std::get<ByteVocabulary>(kind_);
}

const WordVocabulary& Vocabulary::words() const {
  check(unit() == Unit::words, "[Vocabulary] it is one of {}, not of words", name(unit()));
  return std::get<WordVocabulary>(kind_);
}

const PieceVocabulary& Vocabulary::pieces() const {
  check(unit() == Unit::pieces, "[Vocabulary] it is one of {}, not of pieces", name(unit()));
  return std::get<PieceVocabulary>(kind_);
}

std::vector<std::int32_t> Vocabulary::encode(std::string_view text) const {
  return std::visit([&](const auto& kind) { return kind.encode(text); }, kind_);
}

std::string Vocabulary::decode(std::span<const std::int32_t> ids) const {
  return std::visit([&](const auto& kind) { return kind.decode(ids); }, kind_);
}

std::string Vocabulary::text_after(std::optional<std::int32_t> previous, std::int32_t id) const {
  if (unit() == Unit::pieces) {
    return std::string(pieces().text_after(previous, id));
  }
  if (!previous) {
    return decode(std::array{id});
  }
  const std::string before = decode(std::array{*previous});
  return decode(std::array{*previous, id}).substr(before.size());
}

}  // namespace rondo
