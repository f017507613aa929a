// Checksums of bytes, in hexadecimal.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace rondo {

std::string sha1(std::span<const std::uint8_t> bytes);
std::string sha256(std::span<const std::uint8_t> bytes);

}  // namespace rondo
