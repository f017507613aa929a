// The words that a word-level language model knows.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rondo {

// Words end at blanks and other ASCII white space; kEndOfLine stands for the end of a line, or
// kEndOfSentence in a vocabulary that has only that (One Billion Word's).
inline constexpr std::string_view kEndOfLine = "<eos>";
inline constexpr std::string_view kEndOfSentence = "<S>";
// What stands for every word that is not known, where a vocabulary has it.
inline constexpr std::string_view kUnknownWord = "<unk>";

// Calls `word` with every word of `line`.
void for_each_word(std::string_view line, const std::function<void(std::string_view)>& word);
// Calls `line` with every line of `text`, without its end; nothing follows the last line's end.
void for_each_line(std::string_view text, const std::function<void(std::string_view)>& line);

// Distinct words; the id of a word is its place. A handle: copies share the words.
class WordVocabulary {
 public:
  // Throws Error for no words, and for a word that is empty, is there twice or has white space.
  explicit WordVocabulary(const std::vector<std::string>& words);
  // The words of a file that has one, as the first on its line; more on the line is left out.
  static WordVocabulary from_lines(std::string_view text);

  std::int64_t size() const;
  // Throws Error unless 0 <= id < size().
  std::string_view word(std::int32_t id) const;
  // The id of `word`; else that of the first of <unk>, <UNK> that is known; else none.
  std::optional<std::int32_t> find(std::string_view word) const;
  // One word a line, each with its end: what from_lines reads.
  const std::string& lines() const;

  // The ids of a text's words, and the word for a line's end between its lines: a text that does
  // not end in a line end is not closed. Throws Error naming a word that is unknown and its line.
  std::vector<std::int32_t> encode(std::string_view text) const;
  // Words with blanks between, that for the end of a line as one.
  std::string decode(std::span<const std::int32_t> ids) const;

  friend bool operator==(const WordVocabulary& a, const WordVocabulary& b) {
    return a.data_ == b.data_ || a.lines() == b.lines();
  }

 private:
  struct Data;
  explicit WordVocabulary(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  static std::shared_ptr<const Data> read(std::string lines);

  std::shared_ptr<const Data> data_;
};

// Counts words, to make a vocabulary of them.
class WordCounter {
 public:
  WordCounter();
  ~WordCounter();
  WordCounter(const WordCounter&) = delete;
  WordCounter& operator=(const WordCounter&) = delete;

  // `word` must stay where it is as long as the counter.
  void add(std::string_view word);
  // `first`, then the words by falling count, those of equal count in the order in which they were
  // met first (the published vocabularies of WikiText). Words that were met less than `least_count`
  // times are left out; above 1, kUnknownWord comes after `first`, unless it is a word of its own.
  WordVocabulary vocabulary(std::string_view first = kEndOfLine,
                            std::int64_t least_count = 1) const;

 private:
  struct Table;
  std::unique_ptr<Table> table_;
};

}  // namespace rondo
