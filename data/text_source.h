// Where a corpus is prepared from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "core/file.h"

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

// A file, or the files below a folder one after another, no more than `most` bytes (0: all).
TextSource read_source(const std::filesystem::path& file_or_folder, std::uint64_t most);

}  // namespace rondo
