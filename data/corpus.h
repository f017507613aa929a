// Text for language models.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "data/split.h"
#include "data/token_text.h"
#include "data/vocabulary.h"

namespace rondo {

// Three splits and the vocabulary of all. A handle: copies share the tokens and keep them alive.
class Corpus {
 public:
  // "builtin": the bytes of this repository's text, compiled into the library; its words change
  // from one version of Rondo to the next, but a file never moves from one split to another.
  // Anything else: a folder made by `rondo prepare` (data/prepare.h), mapped into memory. Throws
  // Error for a folder that is missing, incomplete or damaged.
  static Corpus open(const std::string& name_or_folder);
  // A corpus of bytes already in memory.
  static Corpus from(std::string name, std::string_view train, std::string_view dev,
                     std::string_view test);

  const TokenText& split(Split split) const { return splits_[index(split)]; }
  // The same with the ids of a model's vocabulary. Bytes may come from another corpus, as long as
  // the model knows them. Throws Error when it is of another unit, or has other words or pieces.
  TokenText split(Split split, const Vocabulary& vocabulary) const;
  // The bytes of the text that a split's pieces were made from; 0 for bytes and words.
  std::uint64_t text_bytes(Split split) const { return text_bytes_[index(split)]; }
  const Vocabulary& vocabulary() const { return vocabulary_; }
  const std::string& name() const { return name_; }
  // False for a corpus prepared from only a part of a published text: its figures are not to be
  // compared with published ones.
  bool complete() const { return complete_; }
  // What tells this corpus's train split from others: the SHA-256 of its file, empty for a corpus
  // that is in memory.
  const std::string& train_sha256() const { return train_sha256_; }

 private:
  using Splits = std::array<TokenText, 3>;
  Corpus(std::string name, Splits splits, Vocabulary vocabulary, bool complete,
         std::shared_ptr<const void> owner, std::string train_sha256 = "");
  static Corpus builtin();
  static Corpus open_folder(const std::string& folder);

  std::string name_;
  Splits splits_;
  Vocabulary vocabulary_;
  bool complete_;
  std::shared_ptr<const void> owner_;  // of the tokens; none for the built-in corpus
  std::string train_sha256_;
  std::array<std::uint64_t, 3> text_bytes_ = {};
};

}  // namespace rondo
