// Where a corpus is prepared from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "data/archive.h"

namespace rondo {

// Bytes mapped from a file, or already in memory: taken out of an archive, or put together.
class TextSource {
 public:
  explicit TextSource(const std::filesystem::path& file)
      : mapped_(std::make_unique<MappedFile>(file)) {}
  explicit TextSource(std::vector<std::uint8_t> bytes, std::size_t files = 1)
      : owned_(std::move(bytes)), files_(files) {}

  std::span<const std::uint8_t> bytes() const {
    if (mapped_ == nullptr) {
      return owned_;
    }
    const std::span<const std::byte> bytes = mapped_->bytes();
    return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
  }
  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes().data()), bytes().size()};
  }
  // How many files the text was put together from.
  std::size_t files() const { return files_; }

 private:
  std::unique_ptr<MappedFile> mapped_;
  std::vector<std::uint8_t> owned_;
  std::size_t files_ = 1;
};

// The files below `folder`, at any depth, in the order of their paths; no symbolic links.
std::vector<std::filesystem::path> files_below(const std::filesystem::path& folder);

// A folder that is made empty, and removed with all in it.
class ScratchFolder {
 public:
  explicit ScratchFolder(std::filesystem::path path);
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A file or folder that can be read: that which is given, or, of an archive, the folder or the file
// it holds, unpacked for as long as this lives.
class UnpackedSource {
 public:
  // Unpacks an archive into `where`, those of its entries that `wanted` takes (empty: all).
  UnpackedSource(const std::filesystem::path& source, const std::filesystem::path& where,
                 const std::function<bool(const std::string& name)>& wanted = nullptr,
                 const UnpackProgress& progress = nullptr);

  const std::filesystem::path& path() const { return path_; }

 private:
  std::optional<ScratchFolder> scratch_;
  std::filesystem::path path_;
};

// Whether it is a file, and begins like an archive.
bool is_archive_file(const std::filesystem::path& path);

// What a corpus is called after its source: a folder's name, or a file's without its extension, as
// "linux-6.1" for linux-6.1.tar.xz.
std::string corpus_name(const std::filesystem::path& source);

// A file, or the files below a folder one after another, no more than `most` bytes (0: all).
TextSource read_source(const std::filesystem::path& file_or_folder, std::uint64_t most);

}  // namespace rondo
