#include "data/text_source.h"

#include <algorithm>
#include <system_error>

#include "core/error.h"

namespace rondo {

std::vector<std::filesystem::path> files_below(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code failure;
  std::filesystem::recursive_directory_iterator entry(folder, failure);
  for (; !failure && entry != std::filesystem::recursive_directory_iterator();
       entry.increment(failure)) {
    if (entry->is_regular_file() && !entry->is_symlink()) {
      files.push_back(entry->path());
    }
  }
  check(!failure, "cannot list the files below {}: {}", folder.string(), failure.message());
  std::ranges::sort(files);
  return files;
}

TextSource read_source(const std::filesystem::path& file_or_folder, std::uint64_t most) {
  std::error_code ignored;
  const bool is_folder = std::filesystem::is_directory(file_or_folder, ignored);
  if (!is_folder && most == 0) {
    return TextSource(file_or_folder);
  }
  const std::vector<std::filesystem::path> files =
      is_folder ? files_below(file_or_folder) : std::vector{file_or_folder};
  check(!files.empty(), "{} is a folder without files; expected text", file_or_folder.string());
  std::vector<std::uint8_t> bytes;
  std::size_t read = 0;
  for (const std::filesystem::path& path : files) {
    const TextSource file(path);
    std::span<const std::uint8_t> part = file.bytes();
    if (most > 0) {
      part = part.first(std::min<std::size_t>(part.size(), most - bytes.size()));
    }
    bytes.insert(bytes.end(), part.begin(), part.end());
    ++read;
    if (most > 0 && bytes.size() == most) {
      break;
    }
  }
  return TextSource(std::move(bytes), read);
}

}  // namespace rondo
