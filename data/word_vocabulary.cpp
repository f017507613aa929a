#include "data/word_vocabulary.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

#include "core/error.h"

namespace rondo {
namespace {

constexpr std::string_view kWhiteSpace = " \t\n\v\f\r";

// A word as people can read it in a message.
std::string shown(std::string_view word) {
  constexpr std::size_t longest = 60;
  return word.size() <= longest ? fmt::format("'{}'", word)
                                : fmt::format("'{}...'", word.substr(0, longest));
}

}  // namespace

void for_each_word(std::string_view line, const std::function<void(std::string_view)>& word) {
  std::size_t start = line.find_first_not_of(kWhiteSpace);
  while (start != std::string_view::npos) {
    const std::size_t end = std::min(line.find_first_of(kWhiteSpace, start), line.size());
    word(line.substr(start, end - start));
    start = line.find_first_not_of(kWhiteSpace, end);
  }
}

void for_each_line(std::string_view text, const std::function<void(std::string_view)>& line) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    line(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

struct WordVocabulary::Data {
  std::string lines;                    // every word, each with a line end
  std::vector<std::string_view> words;  // into lines
  std::unordered_map<std::string_view, std::int32_t> ids;
  std::optional<std::int32_t> unknown;
  std::string_view line_end = kEndOfLine;
};

std::shared_ptr<const WordVocabulary::Data> WordVocabulary::read(std::string lines) {
  auto data = std::make_shared<Data>();
  data->lines = std::move(lines);
  const auto count = static_cast<std::size_t>(std::ranges::count(data->lines, '\n'));
  check(count >= 1, "[WordVocabulary] a vocabulary needs at least one word; it has none");
  check(count <= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()),
        "[WordVocabulary] {} words are more than ids can count", count);
  data->words.reserve(count);
  data->ids.reserve(count);
  for_each_line(data->lines, [&](std::string_view word) {
    check(!word.empty() && word.find_first_of(kWhiteSpace) == std::string_view::npos,
          "[WordVocabulary] entry {} is {}; expected a word without white space",
          data->words.size() + 1, shown(word));
    const auto id = static_cast<std::int32_t>(data->words.size());
    const auto [place, is_new] = data->ids.emplace(word, id);
    check(is_new, "[WordVocabulary] the word {} is there twice, as entries {} and {}", shown(word),
          place->second + 1, id + 1);
    data->words.push_back(word);
  });
  for (const std::string_view name : {kUnknownWord, std::string_view("<UNK>")}) {
    if (const auto found = data->ids.find(name); !data->unknown && found != data->ids.end()) {
      data->unknown = found->second;
    }
  }
  if (!data->ids.contains(kEndOfLine) && data->ids.contains(kEndOfSentence)) {
    data->line_end = kEndOfSentence;
  }
  return data;
}

WordVocabulary::WordVocabulary(const std::vector<std::string>& words)
    : data_(read(fmt::format("{}\n", fmt::join(words, "\n")))) {
  check(size() == static_cast<std::int64_t>(words.size()),
        "[WordVocabulary] a word holds a line end");
}

WordVocabulary WordVocabulary::from_lines(std::string_view text) {
  std::string lines;
  lines.reserve(text.size() + 1);
  for_each_line(text, [&](std::string_view line) {
    const std::size_t start = std::min(line.find_first_not_of(kWhiteSpace), line.size());
    line.remove_prefix(start);
    lines += line.substr(0, line.find_first_of(kWhiteSpace));
    lines += '\n';
  });
  return WordVocabulary(read(std::move(lines)));
}

std::int64_t WordVocabulary::size() const { return static_cast<std::int64_t>(data_->words.size()); }

const std::string& WordVocabulary::lines() const { return data_->lines; }

std::string_view WordVocabulary::word(std::int32_t id) const {
  check(id >= 0 && id < size(), "[WordVocabulary] id {} is not in a vocabulary of {} words", id,
        size());
  return data_->words[static_cast<std::size_t>(id)];
}

std::optional<std::int32_t> WordVocabulary::find(std::string_view word) const {
  const auto found = data_->ids.find(word);
  return found == data_->ids.end() ? data_->unknown : std::optional(found->second);
}

std::vector<std::int32_t> WordVocabulary::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  std::int64_t line_number = 1;
  const auto add = [&](std::string_view word) {
    const std::optional<std::int32_t> id = find(word);
    check(id.has_value(),
          "[WordVocabulary] the word {} in line {} is not among the {} words that the vocabulary "
          "knows, and it has no {} for others",
          shown(word), line_number, size(), kUnknownWord);
    ids.push_back(*id);
  };
  while (true) {
    const std::size_t end = text.find('\n');
    for_each_word(text.substr(0, end), add);
    if (end == std::string_view::npos) {
      return ids;
    }
    add(data_->line_end);
    text.remove_prefix(end + 1);
    ++line_number;
  }
}

std::string WordVocabulary::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids) {
    const std::string_view next = word(id);
    if (next == data_->line_end) {
      text += '\n';
    } else {
      text += text.empty() || text.back() == '\n' ? "" : " ";
      text += next;
    }
  }
  return text;
}

struct WordCounter::Table {
  std::unordered_map<std::string_view, std::size_t> places;
  std::vector<std::pair<std::string_view, std::uint64_t>> counts;  // in order of appearance
};

WordCounter::WordCounter() : table_(std::make_unique<Table>()) {}
WordCounter::~WordCounter() = default;

void WordCounter::add(std::string_view word) {
  const auto [place, is_new] = table_->places.emplace(word, table_->counts.size());
  if (is_new) {
    table_->counts.emplace_back(word, 0);
  }
  ++table_->counts[place->second].second;
}

WordVocabulary WordCounter::vocabulary(std::string_view first, std::int64_t least_count) const {
  const auto least = static_cast<std::uint64_t>(std::max<std::int64_t>(least_count, 1));
  auto ranked = table_->counts;
  std::ranges::stable_sort(ranked, std::greater<>{},
                           [](const auto& entry) { return entry.second; });
  std::string lines = fmt::format("{}\n", first);
  const bool needs_unknown = least > 1 && !table_->places.contains(kUnknownWord);
  if (needs_unknown) {
    lines += fmt::format("{}\n", kUnknownWord);
  }
  for (const auto& [word, count] : ranked) {
    if (word != first && (count >= least || word == kUnknownWord)) {
      lines += word;
      lines += '\n';
    }
  }
  return WordVocabulary::from_lines(lines);
}

}  // namespace rondo
