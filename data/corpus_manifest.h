// corpus.json: what a prepared corpus folder holds. It is written last, so a folder that has one is
// complete.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "data/split.h"
#include "data/vocabulary.h"

namespace rondo {

struct SplitRecord {
  std::uint64_t tokens = 0;  // bytes or words
  std::uint64_t bytes = 0;   // of the file
  std::string sha256;        // of the file, in hexadecimal
};

struct CorpusManifest {
  std::string name;
  Vocabulary vocabulary;
  std::array<SplitRecord, 3> splits;  // in the order of kSplits
  std::uint64_t source_bytes = 0;     // of the text that the splits were made from
  bool complete = true;               // false: that is only a part of the published text
};

std::filesystem::path manifest_path(const std::filesystem::path& folder);
// train.bytes or train.ids, and so on.
std::filesystem::path split_path(const std::filesystem::path& folder, Split split, Unit unit);
// vocabulary.txt: the words of a corpus of words, one a line.
std::filesystem::path vocabulary_path(const std::filesystem::path& folder);

// Reads corpus.json, and the words of a corpus of words, and checks them and the sizes of the split
// files, but not their contents. Throws Error saying what is wrong and what to do.
CorpusManifest read_manifest(const std::filesystem::path& folder);
// Writes vocabulary.txt for words, then corpus.json, both atomically.
void write_manifest(const std::filesystem::path& folder, const CorpusManifest& manifest);

}  // namespace rondo
