// The three parts of a corpus.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rondo {

enum class Split : std::uint8_t { train, dev, test };
inline constexpr std::array kSplits = {Split::train, Split::dev, Split::test};

// The place of `split` in kSplits.
constexpr std::size_t index(Split split) { return static_cast<std::size_t>(split); }

// "train", "dev" or "test".
constexpr std::string_view name(Split split) {
  constexpr std::array<std::string_view, 3> names = {"train", "dev", "test"};
  return names[index(split)];
}

}  // namespace rondo
