// Making a corpus folder out of a file: train.bytes, dev.bytes, test.bytes and corpus.json.
//
// The last twentieth of the bytes is test, the twentieth before it dev, the rest train; for the
// whole of Enwik8, 90, 5 and 5 million bytes, the usual splits. corpus.json is written last: a
// preparation that was interrupted is done again. A folder that already holds this corpus is left
// as it is; one that holds another is an error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/corpus_manifest.h"
#include "data/download.h"

namespace rondo {

// Enwik8, the first 100,000,000 bytes of an English Wikipedia dump of 2006.
struct Enwik8Options {
  std::filesystem::path source;  // the file, a ZIP with an entry enwik8, or empty: download `url`
  std::filesystem::path output;  // folder
  std::string url = "http://mattmahoney.net/dc/enwik8.zip";
  DownloadProgress progress;

  // What the whole file must be, as published at http://mattmahoney.net/dc/textdata.html.
  std::uint64_t bytes = 100'000'000;
  std::string sha1 = "57b8363b814821dc9d47aa4d41f58733519076b2";
};

struct TextOptions {
  std::filesystem::path source;  // any file
  std::filesystem::path output;  // folder
  std::string name;              // of the corpus; empty: the file's name without its extension
};

struct PreparedCorpus {
  CorpusManifest manifest;
  bool already_there = false;  // nothing was written
};

// A file shorter than `bytes` is taken for the beginning of Enwik8, with a warning; one of that
// length must have the checksum, and a longer one is refused. A download must be whole; it is kept
// as output/enwik8.zip(.part) until the corpus is written. Throws Error.
PreparedCorpus prepare_enwik8(const Enwik8Options& options);

// Throws Error for a file that cannot be read or is too short to be split.
PreparedCorpus prepare_text(const TextOptions& options);

}  // namespace rondo
