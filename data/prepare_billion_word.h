// Making a corpus of words of the One Billion Word benchmark.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/prepare.h"

namespace rondo {

// The One Billion Word benchmark (Chelba et al. 2013): <S> before and after every sentence, the
// sentences of train in an order that `seed` fixes.
struct BillionWordOptions {
  // The folder 1-billion-word-language-modeling-benchmark-r13output, or its archive, which is
  // unpacked inside `output` meanwhile; empty: download `url`.
  std::filesystem::path source;
  std::filesystem::path vocabulary;  // a word first on every line; <S> and <UNK> among them
  std::filesystem::path output;
  std::uint64_t seed = 1234;
  std::string url =
      "http://www.statmt.org/lm-benchmark/"
      "1-billion-word-language-modeling-benchmark-r13output.tar.gz";
  PrepareProgress progress = nullptr;

  // What must be free on the disk: for the archive, if it is to be fetched, and for what it holds.
  std::uint64_t archive_bytes = 1'700'000'000;
  std::uint64_t unpacked_bytes = 4'100'000'000;
};

// Throws Error for text that is missing, empty or not UTF-8, and for a word that the vocabulary
// lacks where it has no <UNK>.
PreparedCorpus prepare_billion_word(const BillionWordOptions& options);

}  // namespace rondo
