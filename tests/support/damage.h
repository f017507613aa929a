// Damaged files, as a disk, an editor or somebody ill-meaning may leave them.
#pragma once

#include <cstddef>
#include <random>
#include <string>
#include <string_view>

namespace rondo::testing {

// `bytes` with one to four changes: bits flipped, characters of `alphabet` written over others or
// put in, characters left out. `bytes` must not be empty.
inline std::string damaged(std::string bytes, std::string_view alphabet, std::mt19937& random) {
  const auto below = [&](std::size_t limit) { return random() % limit; };
  for (std::size_t change = 0; change <= below(4) && !bytes.empty(); ++change) {
    const std::size_t at = below(bytes.size());
    switch (below(4)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 1:
        bytes[at] = alphabet[below(alphabet.size())];
        break;
      case 2:
        bytes.erase(at, 1 + below(8));
        break;
      default:
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                     alphabet[below(alphabet.size())]);
    }
  }
  return bytes;
}

// What JSON and YAML are made of, and what neither may hold.
inline constexpr std::string_view kSyntax{"{}[]\",:0123456789-+eE.\\u \n\t#&*!|>'%@~\xff\0", 39};

}  // namespace rondo::testing
