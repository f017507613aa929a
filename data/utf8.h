// Whether bytes are text.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace rondo {

// The position of the first byte that begins no well-formed UTF-8 sequence (The Unicode Standard,
// table 3-7); none when all of `text` is UTF-8.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

}  // namespace rondo
