// Reading one file out of a ZIP archive.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace rondo {

// Whether the file begins like a ZIP archive. Throws Error if it cannot be read.
bool is_zip(const std::filesystem::path& path);

// The contents of `entry`, checked against the archive's own checksum. Throws Error when the
// archive is damaged, lacks the entry, or the entry is longer than `most` bytes.
std::vector<std::uint8_t> read_zip_entry(const std::filesystem::path& path,
                                         const std::string& entry, std::uint64_t most);

}  // namespace rondo
