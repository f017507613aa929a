// corpus.json: what a prepared corpus folder holds. It is written last, so a folder that has one is
// complete.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "data/byte_vocabulary.h"
#include "data/split.h"

namespace rondo {

struct SplitRecord {
  std::uint64_t bytes = 0;
  std::string sha256;  // of the file, in hexadecimal
};

struct CorpusManifest {
  std::string name;
  ByteVocabulary vocabulary;
  std::array<SplitRecord, 3> splits;  // in the order of kSplits
  std::uint64_t source_bytes = 0;     // of the file the splits were cut from
  bool complete = true;               // false: that file is only the beginning of the published one
};

std::filesystem::path manifest_path(const std::filesystem::path& folder);
std::filesystem::path split_path(const std::filesystem::path& folder, Split split);

// Reads corpus.json and checks it, and the sizes of the split files, but not their contents. Throws
// Error saying what is wrong and what to do.
CorpusManifest read_manifest(const std::filesystem::path& folder);
// Writes corpus.json atomically.
void write_manifest(const std::filesystem::path& folder, const CorpusManifest& manifest);

}  // namespace rondo
