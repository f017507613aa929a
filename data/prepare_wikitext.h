// Making a corpus of words of WikiText.
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

// Throws Error for text that is missing, empty or not UTF-8, and for a word of dev or test that
// train lacks where there is no <unk> to stand for it.
PreparedCorpus prepare_wikitext(const WikiTextOptions& options);

}  // namespace rondo
