#include "data/prepared_folder.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "core/checksum.h"
#include "core/error.h"
#include "core/file.h"
#include "core/log.h"
#include "data/id_file.h"

namespace rondo {
namespace {

// Whether a file of ids holds those of a split.
bool has_ids(const IdFile& file, Split split, const SplitIds& ids) {
  const TokenText text = file.text();
  std::int64_t at = 0;
  bool same = true;
  ids(split, "comparing", [&](std::int32_t wanted) {
    std::int32_t found = 0;
    same = same && at < text.size();
    if (same) {
      text.write(at++, 1, &found, 1);
      same = found == wanted;
    }
  });
  return same && at == text.size();
}

// Whether `folder` holds this corpus: the same tokens in the same order.
bool holds(const std::filesystem::path& folder, const CorpusManifest& found,
           const CorpusManifest& wanted, const SplitIds& ids) {
  return found.name == wanted.name && found.source_bytes == wanted.source_bytes &&
         found.vocabulary == wanted.vocabulary && std::ranges::all_of(kSplits, [&](Split split) {
           const IdFile file(split_path(folder, split, found.vocabulary.unit()),
                             found.vocabulary.size());
           return has_ids(file, split, ids);
         });
}

}  // namespace

FileLock lock_output(const std::filesystem::path& folder) {
  make_folder(folder);
  std::optional<FileLock> lock = FileLock::take_folder(folder);
  check(lock.has_value(),
        "{} is being prepared by another process; wait until that has ended, or choose another "
        "folder with --output",
        folder.string());
  return *std::move(lock);
}

std::optional<CorpusManifest> find_prepared(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::exists(manifest_path(folder), ignored)) {
    return std::nullopt;
  }
  try {
    return read_manifest(folder);
  } catch (const UnsupportedCorpus&) {
    throw;  // another Rondo can read it: it is nothing to write over
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

PreparedCorpus write_ids(const std::filesystem::path& folder, CorpusManifest manifest,
                         const SplitIds& ids) {
  if (std::optional<CorpusManifest> found = find_prepared(folder)) {
    if (!holds(folder, *found, manifest, ids)) {
      fail_occupied(folder, *found);
    }
    return already_there(folder, std::move(*found));
  }
  const std::int64_t vocabulary_size = manifest.vocabulary.size();
  std::uint64_t size = vocabulary_file(manifest.vocabulary).size();
  for (const SplitRecord& record : manifest.splits) {
    size += id_file_size(static_cast<std::int64_t>(record.tokens), vocabulary_size);
  }
  require_free_space(folder, size);
  clear_manifest(folder);
  const Unit unit = manifest.vocabulary.unit();
  for (const Split split : kSplits) {
    SplitRecord& record = manifest.splits[index(split)];
    write_id_file(split_path(folder, split, unit), static_cast<std::int64_t>(record.tokens),
                  vocabulary_size, [&](const AddId& add) { ids(split, "writing", add); });
    const std::uint64_t text_bytes = record.text_bytes;
    record = record_of(folder, split, unit, record.tokens);
    record.text_bytes = text_bytes;
  }
  write_manifest(folder, manifest);
  return {.manifest = std::move(manifest)};
}

}  // namespace rondo
