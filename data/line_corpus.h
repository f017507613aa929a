// A text in lines, in three splits: what corpora of words and of pieces are made of.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/prepare.h"
#include "data/split.h"
#include "data/text_source.h"

namespace rondo {

struct SplitLines {
  std::vector<std::string_view> lines;  // without their ends
  std::vector<std::string> sources;     // names, for messages

  // Of the lines with their ends.
  std::uint64_t bytes() const;
};

class LineCorpus {
 public:
  explicit LineCorpus(std::string name) : name_(std::move(name)) {}

  const std::string& name() const { return name_; }
  const SplitLines& split(Split split) const { return splits_[index(split)]; }
  // To put its lines in another order.
  std::vector<std::string_view>& lines(Split split) { return splits_[index(split)].lines; }
  // Of all that was added.
  std::uint64_t source_bytes() const { return source_bytes_; }

  // Adds the lines of `text`, called `source` in messages. Throws Error unless it is UTF-8 and not
  // empty.
  void add(Split split, const std::string& source, TextSource text);
  // The same of the first `bytes` of a text that all splits are cut from: by position as bytes are
  // (90%, 5%, 5%), but at the end of the line that the last byte is in.
  void add_cut(const std::string& source, TextSource text, std::size_t bytes);

 private:
  void add_lines(Split split, const std::string& source, std::string_view text);

  std::string name_;
  std::vector<TextSource> texts_;  // that the lines are in
  std::array<SplitLines, 3> splits_;
  std::uint64_t source_bytes_ = 0;
};

struct LineText {
  std::shared_ptr<const UnpackedSource> source;  // stays as long as the lines
  LineCorpus corpus;
  std::size_t files = 0;  // as in PreparedCorpus
};

// The text that the options tell, whatever it is made into.
LineText read_lines(const TextOptions& options);

// Throws an Error that calls the text `source`, and says where it is wrong.
void require_utf8(const std::string& source, std::string_view text);

}  // namespace rondo
