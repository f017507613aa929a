// The archive of a published corpus, fetched into the folder that is prepared.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/prepare.h"

namespace rondo {

class DownloadedArchive {
 public:
  // Fetches `url` to `path` unless it is there already. `title` is what it should hold, for
  // messages.
  DownloadedArchive(std::filesystem::path path, std::string url, std::string title,
                    const PrepareProgress& progress);

  const std::filesystem::path& path() const { return path_; }
  // Fetched by this call: only then it is ours to remove.
  bool fetched() const { return fetched_; }

  // Throws the Error for an archive that is not what it should be; removes it if it was fetched.
  [[noreturn]] void refuse(const std::string& reason) const;
  // Removes it if it was fetched: the corpus is written.
  void discard() const;

  // Of an archive of `size` bytes to be fetched to `path`, how many are not there yet.
  static std::uint64_t missing(const std::filesystem::path& path, std::uint64_t size);

 private:
  std::filesystem::path path_;
  std::string url_;
  std::string title_;
  bool fetched_;
};

}  // namespace rondo
