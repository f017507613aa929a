// Checksums of bytes, in hexadecimal.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace rondo {

std::string sha1(std::span<const std::byte> bytes);
std::string sha256(std::span<const std::byte> bytes);

}  // namespace rondo
