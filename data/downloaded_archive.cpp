#include "data/downloaded_archive.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "data/download.h"

namespace rondo {

DownloadedArchive::DownloadedArchive(std::filesystem::path path, std::string url, std::string title,
                                     const PrepareProgress& progress)
    : path_(std::move(path)), url_(std::move(url)), title_(std::move(title)) {
  std::error_code ignored;
  fetched_ = !std::filesystem::exists(path_, ignored);
  if (fetched_) {
    download(url_, path_, on_step(progress, "downloading"));
  }
}

void DownloadedArchive::refuse(const std::string& reason) const {
  if (!fetched_) {
    fail("{}, downloaded earlier, is not {} ({}); delete it and run the command again",
         path_.string(), title_, reason);
  }
  discard();
  fail("what was downloaded from {} is not {} ({}); it has been removed: run the command again",
       url_, title_, reason);
}

void DownloadedArchive::discard() const {
  if (fetched_) {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
}

std::uint64_t DownloadedArchive::missing(const std::filesystem::path& path, std::uint64_t size) {
  std::filesystem::path part = path;
  part += ".part";
  for (const std::filesystem::path& file : {path, part}) {
    std::error_code absent;
    const std::uint64_t there = std::filesystem::file_size(file, absent);
    if (!absent) {
      return size - std::min(size, there);
    }
  }
  return size;
}

}  // namespace rondo
