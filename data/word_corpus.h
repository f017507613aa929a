// Lines made into a corpus of words: train.ids, dev.ids, test.ids, vocabulary.txt and corpus.json.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>
#include <utility>

#include "data/line_corpus.h"
#include "data/prepare.h"
#include "data/word_vocabulary.h"

namespace rondo {

// What stands around the words of a line.
struct LineRule {
  std::string_view before;  // a word put before every line; empty: none
  std::string_view after = kEndOfLine;
};

class WordCorpus {
 public:
  // `lines` must stay as long as this. `progress` is called, if it is not empty.
  WordCorpus(const LineCorpus& lines, LineRule rule, PrepareProgress progress)
      : lines_(lines), rule_(rule), progress_(std::move(progress)) {}

  // The words of train, as WordCounter::vocabulary has them.
  WordVocabulary train_vocabulary(std::int64_t least_count = 1) const;
  // How many tokens the splits have.
  std::array<std::uint64_t, 3> count_tokens() const;

  // Writes `folder`, unless it holds this corpus. Throws Error for a folder that holds another, and
  // for a word that `vocabulary` lacks where it has no <unk>.
  PreparedCorpus write(const std::filesystem::path& folder, const WordVocabulary& vocabulary,
                       bool complete = true) const;

 private:
  // Tells of its progress as that of `step`.
  void for_each_token(Split split, std::string_view step,
                      const std::function<void(std::string_view)>& token) const;

  const LineCorpus& lines_;
  LineRule rule_;
  PrepareProgress progress_;
};

}  // namespace rondo
