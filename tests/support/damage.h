// Damaged files, as a disk, an editor or somebody ill-meaning may leave them.
#pragma once

#include <cstddef>
#include <random>
#include <string>
#include <string_view>

#include "core/error.h"

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

// How many damaged files were read all the same, and how many refused.
struct Damaged {
  int read = 0;
  int refused = 0;
};

// Calls read(bytes) for `rounds` damaged versions of `whole`, drawn from `seed`. It may throw
// Error, which refuses one; any other exception is thrown on.
template <typename Read>
Damaged read_damaged(const std::string& whole, unsigned seed, int rounds, Read&& read) {
  std::mt19937 random(seed);
  Damaged result;
  for (int round = 0; round < rounds; ++round) {
    try {
      read(damaged(whole, kSyntax, random));
      ++result.read;
    } catch (const Error&) {
      ++result.refused;
    }
  }
  return result;
}

}  // namespace rondo::testing
