#include "data/text_source.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "core/error.h"

namespace rondo {

std::vector<std::filesystem::path> files_below(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code failure;
  std::filesystem::recursive_directory_iterator entry(folder, failure);
  for (; !failure && entry != std::filesystem::recursive_directory_iterator();
       entry.increment(failure)) {
    std::error_code ignored;  // a link to nowhere, or one that may not be followed
    if (!entry->is_symlink(ignored) && entry->is_regular_file(ignored)) {
      files.push_back(entry->path());
    }
  }
  check(!failure, "cannot list the files below {}: {}", folder.string(), failure.message());
  std::ranges::sort(files);
  return files;
}

ScratchFolder::ScratchFolder(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);  // left by a process that was killed
  make_folder(path_);
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

UnpackedSource::UnpackedSource(const std::filesystem::path& source,
                               const std::filesystem::path& where,
                               const std::function<bool(const std::string& name)>& wanted,
                               const UnpackProgress& progress)
    : path_(source) {
  if (!is_archive_file(source)) {
    return;
  }
  // Named after the archive: messages about a file below it then say where that is from.
  scratch_.emplace(where / (source.filename().string() + ".unpacked"));
  unpack_archive(source, scratch_->path(), wanted, progress);
  path_ = scratch_->path();
  std::error_code failure;
  std::filesystem::directory_iterator entry(path_, failure);
  std::vector<std::filesystem::path> top;
  for (; !failure && entry != std::filesystem::directory_iterator(); entry.increment(failure)) {
    top.push_back(entry->path());
  }
  check(!failure, "cannot list {}: {}", path_.string(), failure.message());
  if (top.size() == 1) {
    path_ = top.front();
  }
}

bool is_archive_file(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored) && is_archive(path);
}

std::string corpus_name(const std::filesystem::path& source) {
  check(!source.empty(), "expected a file, folder or archive to take the text from, found none");
  const std::filesystem::path path = std::filesystem::absolute(source).lexically_normal();
  const std::filesystem::path named = path.has_filename() ? path : path.parent_path();
  std::error_code ignored;
  if (std::filesystem::is_directory(named, ignored)) {
    return named.filename().string();
  }
  const std::filesystem::path stem = named.stem();
  return stem.extension() == ".tar" || stem.extension() == ".txt" ? stem.stem().string()
                                                                  : stem.string();
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
