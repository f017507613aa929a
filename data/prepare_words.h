// Making a corpus of words: train.ids, dev.ids, test.ids, vocabulary.txt and corpus.json, which is
// written last. A folder that already holds this corpus is left as it is; one that holds another is
// an error.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "data/prepare.h"

namespace rondo {

// WikiText-103 or WikiText-2 (Merity et al. 2016): every line, blank ones too, ends in <eos>; the
// vocabulary is that of train, <eos> first, then by falling count.
struct WikiTextOptions {
  // Folder with wiki.train.tokens and so on, archive of it, or empty: download.
  std::filesystem::path source;
  std::filesystem::path output;  // folder
  std::string name;              // of the corpus, and of the folder in the archive
  std::string url;
  PrepareProgress progress;

  // What the whole corpus comes to: words, and tokens with <eos> of train, dev and test.
  std::int64_t words = 0;
  std::array<std::int64_t, 3> tokens = {};
};

WikiTextOptions wikitext_103();
WikiTextOptions wikitext_2();

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

// Any text at word level, cut into splits as prepare_text does, at line ends, or in three files.
struct WordTextOptions {
  std::filesystem::path source;  // a file, folder or archive as in TextOptions
  std::filesystem::path output;
  std::string name;
  std::uint64_t bytes = 0;  // of the text to take; 0: all
  // The words that are met less often are <unk>; 1: every word of train is known.
  std::int64_t least_count = 1;
  PrepareProgress progress = nullptr;
};

// These throw Error for text that is missing, empty or not UTF-8, and for a word of dev or test
// that train lacks where there is no <unk> to stand for it.
PreparedCorpus prepare_wikitext(const WikiTextOptions& options);
PreparedCorpus prepare_billion_word(const BillionWordOptions& options);
PreparedCorpus prepare_word_text(const WordTextOptions& options);

}  // namespace rondo
