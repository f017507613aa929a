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
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "data/corpus_manifest.h"

namespace rondo {

// Called now and then with what is done at present ("downloading"), of how many bytes it is done,
// and how many there are (0: not known yet). An exception stops the preparation.
using PrepareProgress =
    std::function<void(std::string_view step, std::uint64_t done, std::uint64_t total)>;

// What one step calls for `progress`, which must stay where it is; empty if that is.
inline std::function<void(std::uint64_t done, std::uint64_t total)> on_step(
    const PrepareProgress& progress, std::string_view step) {
  if (!progress) {
    return nullptr;
  }
  return
      [&progress, step](std::uint64_t done, std::uint64_t total) { progress(step, done, total); };
}

// A published text in one long file.
struct LargeTextOptions {
  // The file, an archive with an entry `name`, or empty: download `url`.
  std::filesystem::path source;
  std::filesystem::path output;  // folder
  std::string url;
  PrepareProgress progress;
  std::string name;   // of the corpus, and of the entry of the archive
  std::string title;  // in messages

  // What the whole file must be; no SHA-1: not checked.
  std::uint64_t bytes = 0;
  std::string sha1;
};

// Enwik8, the first 100,000,000 bytes of an English Wikipedia dump of 2006, and text8, as long and
// from the same dump, only a to z and blanks: http://mattmahoney.net/dc/textdata.html.
LargeTextOptions enwik8();
LargeTextOptions text8();

// A file; a folder with train.txt, dev.txt (or valid.txt) and test.txt, which are the splits; or
// any other folder, whose files, at any depth, in the order of their paths, are one text. An
// archive is taken as the folder it holds, and unpacked inside `output` meanwhile.
struct TextOptions {
  std::filesystem::path source;
  std::filesystem::path output;  // folder
  std::string name = {};         // of the corpus; empty: corpus_name(source)
  std::uint64_t bytes = 0;       // of the text to take; 0: all
  PrepareProgress progress = nullptr;
};

struct PreparedCorpus {
  CorpusManifest manifest;
  bool already_there = false;  // nothing was written
  std::size_t files = 0;       // that a text was put together from; 0 for a published corpus
};

// A file shorter than `bytes` is taken for the beginning of the text, with a warning; one of that
// length must have the checksum, and a longer one is refused. A download must be whole; it is kept
// as output/<name>.zip(.part) until the corpus is written. Throws Error.
PreparedCorpus prepare_large_text(const LargeTextOptions& options);

// Throws Error for a file that cannot be read or is too short to be split.
PreparedCorpus prepare_text(const TextOptions& options);

// train.txt, dev.txt or valid.txt, and test.txt in `folder`, in the order of kSplits; none if there
// is none of them. Throws Error when some are missing.
using SplitFiles = std::array<std::filesystem::path, 3>;
std::optional<SplitFiles> find_split_files(const std::filesystem::path& folder);

}  // namespace rondo
