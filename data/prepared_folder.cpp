#include "data/prepared_folder.h"

#include <system_error>
#include <utility>

#include "core/checksum.h"
#include "core/error.h"
#include "core/file.h"
#include "core/log.h"

namespace rondo {

std::optional<CorpusManifest> find_prepared(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::exists(manifest_path(folder), ignored)) {
    return std::nullopt;
  }
  try {
    return read_manifest(folder);
  } catch (const Error& error) {
    spdlog::warn("{} is damaged and is prepared again ({})", folder.string(), error.what());
    return std::nullopt;
  }
}

PreparedCorpus already_there(const std::filesystem::path& folder, CorpusManifest manifest) {
  spdlog::info("{} already holds the corpus {}: nothing to do", folder.string(), manifest.name);
  return {.manifest = std::move(manifest), .already_there = true};
}

void fail_occupied(const std::filesystem::path& folder, const CorpusManifest& found) {
  fail(
      "{} already holds another corpus, {} of {} bytes{}; choose another folder, or delete this "
      "one "
      "first",
      folder.string(), found.name, found.source_bytes,
      found.complete ? "" : " (a part of the published text)");
}

void clear_manifest(const std::filesystem::path& folder) {
  std::filesystem::remove(manifest_path(folder));
  sync_folder(folder);
}

SplitRecord record_of(const std::filesystem::path& folder, Split split, Unit unit,
                      std::uint64_t tokens) {
  const MappedFile file(split_path(folder, split, unit));
  return {.tokens = tokens, .bytes = file.bytes().size(), .sha256 = sha256(file.bytes())};
}

}  // namespace rondo
