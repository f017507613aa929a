// corpus.json: what a prepared corpus folder holds. It is written last, so a folder that has one is
// complete.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "core/error.h"
#include "data/split.h"
#include "data/vocabulary.h"

namespace rondo {

// Thrown for a corpus that may be whole, but is not for this build of Rondo.
class UnsupportedCorpus : public Error {
 public:
  using Error::Error;
};

struct SplitRecord {
  std::uint64_t tokens = 0;  // bytes, words or pieces
  std::uint64_t bytes = 0;   // of the file
  std::string sha256;        // of the file, in hexadecimal
  // Of the text that pieces were made from, line ends included; 0 for other units.
  std::uint64_t text_bytes = 0;
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
// Of a corpus of words vocabulary.txt, which has one on every line; of a corpus of pieces
// vocabulary.model, the SentencePiece model.
std::filesystem::path vocabulary_path(const std::filesystem::path& folder, Unit unit);
// What that file holds. Throws Error for bytes, which corpus.json itself tells.
const std::string& vocabulary_file(const Vocabulary& vocabulary);

// Reads corpus.json and the file of the vocabulary, and checks them and the sizes of the split
// files, but not their contents. Throws Error saying what is wrong and what to do,
// UnsupportedCorpus for another format or version, and for pieces without SentencePiece.
CorpusManifest read_manifest(const std::filesystem::path& folder);
// Writes the file of the vocabulary, then corpus.json, both atomically.
void write_manifest(const std::filesystem::path& folder, const CorpusManifest& manifest);

}  // namespace rondo
