// Reading the files of an archive.
//
// ZIP; tar, as it is or packed by gzip, bzip2, xz or Zstandard; and a single file packed by one of
// these, which is the only entry then, named as the archive without its extension. Entries that are
// not regular files, links among them, are passed over. What checksums the format has are compared.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"

namespace rondo {

// The archive is damaged, cut short, or not what was expected: names archive, entry and reason.
class ArchiveError : public Error {
 public:
  using Error::Error;
};

// Whether the file begins like an archive. Throws Error if it cannot be read.
bool is_archive(const std::filesystem::path& path);

// The contents of `entries`, in one pass over the archive. Throws ArchiveError when it lacks one,
// or one is longer than `most` bytes.
std::vector<std::vector<std::uint8_t>> read_archive_entries(const std::filesystem::path& path,
                                                            std::span<const std::string> entries,
                                                            std::uint64_t most);

// Called with how many of the archive's bytes have been read; with all of them once, at the end.
using UnpackProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

// Writes the entries whose names `wanted` takes (empty: all) below `folder`, in one pass over the
// archive. Throws ArchiveError when there is none, and for an entry that would lie outside of the
// folder, and Error when the disk is full.
void unpack_archive(const std::filesystem::path& path, const std::filesystem::path& folder,
                    const std::function<bool(const std::string& name)>& wanted,
                    const UnpackProgress& progress = nullptr);

}  // namespace rondo
