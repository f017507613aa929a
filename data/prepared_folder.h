// What every preparation does with the folder that it fills.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

#include "core/file.h"
#include "data/corpus_manifest.h"
#include "data/prepare.h"

namespace rondo {

// Makes `folder` and keeps other processes from preparing a corpus there meanwhile. Throws Error if
// one is at work already.
FileLock lock_output(const std::filesystem::path& folder);

// The finished corpus in `folder`, if there is one. A damaged one is told of, and counts as none.
// Throws UnsupportedCorpus.
std::optional<CorpusManifest> find_prepared(const std::filesystem::path& folder);

// The result for a folder that holds the corpus already.
PreparedCorpus already_there(const std::filesystem::path& folder, CorpusManifest manifest);

// Throws the Error of a folder that holds another corpus.
[[noreturn]] void fail_occupied(const std::filesystem::path& folder, const CorpusManifest& found);

// Makes room for a corpus: a damaged one must not look whole while its splits are replaced.
void clear_manifest(const std::filesystem::path& folder);

// What corpus.json says of a split that has been written.
SplitRecord record_of(const std::filesystem::path& folder, Split split, Unit unit,
                      std::uint64_t tokens);

// Takes an id of a text.
using AddId = std::function<void(std::int32_t id)>;
// Calls `add` with every id of a split in order. If that takes a while, it tells of its progress as
// that of `step`.
using SplitIds = std::function<void(Split split, std::string_view step, const AddId& add)>;

// Writes a corpus of ids, unless `folder` holds it already. The manifest has the counts of tokens.
// Throws Error for a folder that holds another.
PreparedCorpus write_ids(const std::filesystem::path& folder, CorpusManifest manifest,
                         const SplitIds& ids);

}  // namespace rondo
