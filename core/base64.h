// Bytes as text that JSON can hold (RFC 4648, with padding).
#pragma once

#include <string>
#include <string_view>

namespace rondo {

std::string to_base64(std::string_view bytes);
// Throws Error for what to_base64 does not give.
std::string from_base64(std::string_view text);

}  // namespace rondo
