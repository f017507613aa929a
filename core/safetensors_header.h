// The header of a safetensors file, taken apart and checked. Users include core/safetensors.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"

namespace rondo::detail {

// A larger header is refused, as by the format's own library.
inline constexpr std::uint64_t kMaxSafetensorsHeader = 100'000'000;
inline constexpr std::string_view kSafetensorsMetadata = "__metadata__";

struct SafetensorsEntry {
  std::string dtype;  // as the file names it
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0;  // bytes after the header
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry, std::less<>> entries;
  std::map<std::string, std::string> metadata;
  std::vector<std::string> names;  // in the order of the data
};

// Reads the JSON `text`, which describes `data_bytes` bytes of elements. Throws Error unless every
// promise of the format holds.
SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes,
                                           const std::filesystem::path& path);

// The dtype that the format calls `dtype`; nothing if Rondo has none for it.
std::optional<DType> from_safetensors_dtype(std::string_view dtype);
std::string_view to_safetensors_dtype(DType dtype);

// `text` as a JSON string: quoted, and safe to print whatever a file holds.
std::string quoted(std::string_view text);
// The same, cut short if it is long.
std::string quoted_for_message(std::string_view text);

// Throws "cannot read <path>: <problem>; <what to do>".
[[noreturn]] void fail_damaged(const std::filesystem::path& path, std::string_view problem);

}  // namespace rondo::detail
