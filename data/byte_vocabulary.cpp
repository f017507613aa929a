#include "data/byte_vocabulary.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace rondo {
namespace {

std::string describe(std::uint8_t byte) {
  if (byte > 0x20 && byte < 0x7f) {
    return fmt::format("0x{:02x} ('{}')", byte, static_cast<char>(byte));
  }
  return fmt::format("0x{:02x}", byte);
}

}  // namespace

ByteVocabulary::ByteVocabulary(std::vector<std::uint8_t> bytes) : bytes_(std::move(bytes)) {
  check(!bytes_.empty(), "[ByteVocabulary] a vocabulary needs at least one byte; it has none");
  ids_.fill(-1);
  for (std::size_t i = 0; i < bytes_.size(); ++i) {
    check(i == 0 || bytes_[i - 1] < bytes_[i],
          "[ByteVocabulary] bytes must be distinct and in increasing order; {} at place {} does "
          "not come after {}",
          describe(bytes_[i]), i, describe(bytes_[i > 0 ? i - 1 : 0]));
    ids_[bytes_[i]] = static_cast<std::int16_t>(i);
  }
}

ByteVocabulary ByteVocabulary::of(std::span<const std::span<const std::uint8_t>> texts) {
  std::array<bool, 256> occurs{};
  for (const std::span<const std::uint8_t> text : texts) {
    for (const std::uint8_t byte : text) {
      occurs[byte] = true;
    }
  }
  std::vector<std::uint8_t> bytes;
  for (int value = 0; value < 256; ++value) {
    if (occurs[static_cast<std::size_t>(value)]) {
      bytes.push_back(static_cast<std::uint8_t>(value));
    }
  }
  return ByteVocabulary(std::move(bytes));
}

std::optional<std::int32_t> ByteVocabulary::id(std::uint8_t byte) const {
  const std::int32_t id = ids_[byte];
  return id < 0 ? std::nullopt : std::optional(id);
}

std::uint8_t ByteVocabulary::byte(std::int32_t id) const {
  check(id >= 0 && id < size(), "[ByteVocabulary] id {} is not in a vocabulary of {} bytes", id,
        size());
  return bytes_[static_cast<std::size_t>(id)];
}

std::vector<std::int32_t> ByteVocabulary::encode(std::string_view text) const {
  const auto* first = reinterpret_cast<const std::uint8_t*>(text.data());
  const std::span<const std::uint8_t> bytes(first, text.size());
  require_known(bytes);
  std::vector<std::int32_t> ids(bytes.size());
  std::transform(bytes.begin(), bytes.end(), ids.begin(),
                 [this](std::uint8_t byte) { return ids_[byte]; });
  return ids;
}

std::string ByteVocabulary::decode(std::span<const std::int32_t> ids) const {
  std::string text(ids.size(), '\0');
  std::transform(ids.begin(), ids.end(), text.begin(),
                 [this](std::int32_t id) { return static_cast<char>(byte(id)); });
  return text;
}

void ByteVocabulary::require_known(std::span<const std::uint8_t> text) const {
  const auto unknown =
      std::find_if(text.begin(), text.end(), [this](std::uint8_t byte) { return ids_[byte] < 0; });
  if (unknown != text.end()) {
    fail(
        "[ByteVocabulary] byte {} at position {} is not among the {} bytes that the vocabulary "
        "knows; the model was made for another corpus, or the text uses a character that its "
        "corpus "
        "lacks",
        describe(*unknown), unknown - text.begin(), size());
  }
}

}  // namespace rondo
