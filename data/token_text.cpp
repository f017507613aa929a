#include "data/token_text.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "core/error.h"

namespace rondo {

TokenText TokenText::first(std::int64_t count) const {
  TokenText part = *this;
  part.size_ = std::min(size_, static_cast<std::size_t>(std::max<std::int64_t>(count, 0)));
  return part;
}

TokenText TokenText::with_vocabulary(ByteVocabulary vocabulary) const {
  const auto* bytes = std::get_if<Bytes>(&tokens_);
  check(bytes != nullptr, "[TokenText] only bytes can have the ids of another vocabulary");
  return TokenText(bytes->bytes, std::move(vocabulary)).first(size());
}

void TokenText::write(std::int64_t start, std::int64_t count, std::int32_t* to,
                      std::int64_t stride) const {
  check(start >= 0 && count >= 0 && start <= size() - count,
        "[TokenText] {} tokens from {} were asked for; there are {}", count, start, size());
  std::visit(
      [&](const auto& tokens) {
        using Tokens = std::remove_cvref_t<decltype(tokens)>;
        if constexpr (std::is_same_v<Tokens, Bytes>) {
          for (std::int64_t i = 0; i < count; ++i) {
            const std::optional<std::int32_t> id =
                tokens.vocabulary.id(tokens.bytes[static_cast<std::size_t>(start + i)]);
            if (!id) {
              tokens.vocabulary.require_known(tokens.bytes.first(size_));
            }
            to[i * stride] = *id;
          }
        } else if constexpr (!std::is_same_v<Tokens, std::monostate>) {
          for (std::int64_t i = 0; i < count; ++i) {
            const auto id =
                static_cast<std::int64_t>(tokens.ids[static_cast<std::size_t>(start + i)]);
            check(id < tokens.vocabulary_size,
                  "[TokenText] id {} at position {} is out of range for a vocabulary of {}; the "
                  "corpus is damaged: prepare it again",
                  id, start + i, tokens.vocabulary_size);
            to[i * stride] = static_cast<std::int32_t>(id);
          }
        }
      },
      tokens_);
}

std::vector<std::int32_t> TokenText::ids() const {
  std::vector<std::int32_t> ids(size_);
  write(0, size(), ids.data(), 1);
  return ids;
}

void TokenText::require_known() const {
  if (const auto* bytes = std::get_if<Bytes>(&tokens_)) {
    bytes->vocabulary.require_known(bytes->bytes.first(size_));
  }
}

}  // namespace rondo
