// Text for byte-level language models.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "data/byte_vocabulary.h"
#include "data/split.h"

namespace rondo {

// Three splits of raw bytes and the vocabulary of all three together. A handle: copies share the
// bytes and keep them alive.
class ByteCorpus {
 public:
  // "builtin": the text of this repository, compiled into the library; its words change from one
  // version of Rondo to the next, but a file never moves from one split to another.
  // Anything else: a folder made by prepare_enwik8 or prepare_text (data/prepare.h), mapped into
  // memory. Throws Error for a folder that is missing, incomplete or damaged.
  static ByteCorpus open(const std::string& name_or_folder);
  // A corpus of bytes already in memory.
  static ByteCorpus from(std::string name, std::string_view train, std::string_view dev,
                         std::string_view test);

  std::span<const std::uint8_t> split(Split split) const { return splits_[index(split)]; }
  const ByteVocabulary& vocabulary() const { return vocabulary_; }
  const std::string& name() const { return name_; }
  // False for a corpus prepared from only the beginning of a published file: its figures are not
  // to be compared with published ones.
  bool complete() const { return complete_; }

 private:
  using Splits = std::array<std::span<const std::uint8_t>, 3>;
  ByteCorpus(std::string name, Splits splits, ByteVocabulary vocabulary, bool complete,
             std::shared_ptr<const void> owner);
  static ByteCorpus builtin();
  static ByteCorpus open_folder(const std::string& folder);

  std::string name_;
  Splits splits_;
  ByteVocabulary vocabulary_;
  bool complete_;
  std::shared_ptr<const void> owner_;  // of the bytes; none for the built-in corpus
};

}  // namespace rondo
