// Making a corpus of bytes: train.bytes, dev.bytes, test.bytes and corpus.json.
//
// The last twentieth of the bytes is test, the twentieth before it dev, the rest train; for the
// whole of Enwik8, 90, 5 and 5 million bytes, the usual splits. corpus.json is written last: a
// preparation that was interrupted is done again. A folder that already holds this corpus is left
// as it is; one that holds another is an error.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
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
  std::string name = "enwik8";   // of the corpus, and of the entry of the archive
  std::string title = "Enwik8";  // in messages

  // What the whole file must be (no SHA-1: not checked), as published at
  // http://mattmahoney.net/dc/textdata.html.
  std::uint64_t bytes = 100'000'000;
  std::string sha1 = "57b8363b814821dc9d47aa4d41f58733519076b2";
};

// text8: the first 10^8 characters of the same dump, only a to z and blanks.
Enwik8Options text8();

// A file; a folder with train.txt, dev.txt (or valid.txt) and test.txt, which are the splits; or
// any other folder, whose files, at any depth, in the order of their paths, are one text.
struct TextOptions {
  std::filesystem::path source;
  std::filesystem::path output;  // folder
  std::string name;              // of the corpus; empty: the source's name without its extension
  std::uint64_t bytes = 0;       // of the text to take; 0: all
};

struct PreparedCorpus {
  CorpusManifest manifest;
  bool already_there = false;  // nothing was written
  std::size_t files = 0;       // that a text was put together from; 0 for a published corpus
};

// A file shorter than `bytes` is taken for the beginning of Enwik8, with a warning; one of that
// length must have the checksum, and a longer one is refused. A download must be whole; it is kept
// as output/enwik8.zip(.part) until the corpus is written. Throws Error.
PreparedCorpus prepare_enwik8(const Enwik8Options& options);

// Throws Error for a file that cannot be read or is too short to be split.
PreparedCorpus prepare_text(const TextOptions& options);

// train.txt, dev.txt or valid.txt, and test.txt in `folder`, in the order of kSplits; none if there
// is none of them. Throws Error when some are missing.
using SplitFiles = std::array<std::filesystem::path, 3>;
std::optional<SplitFiles> find_split_files(const std::filesystem::path& folder);

}  // namespace rondo
