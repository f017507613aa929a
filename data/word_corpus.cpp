#include "data/word_corpus.h"

#include <fmt/ranges.h>

#include <optional>
#include <string>
#include <utility>

#include "core/error.h"
#include "data/prepared_folder.h"

namespace rondo {
namespace {

// The id of `word`. Throws an Error that says where it stands if it is not known.
std::int32_t require_id(const WordVocabulary& vocabulary, std::string_view word, Split split,
                        const SplitLines& lines) {
  if (const std::optional<std::int32_t> id = vocabulary.find(word)) {
    return *id;
  }
  std::size_t number = 0;
  for (const std::string_view line : lines.lines) {
    ++number;
    if (line.data() <= word.data() && word.data() < line.data() + line.size()) {
      break;
    }
  }
  fail(
      "{} ({}), line {}: the word '{}' is not in the vocabulary of {} words, and there is no {} to "
      "stand for it; give rare words to it: --least-count 2",
      name(split), fmt::join(lines.sources, ", "), number, word, vocabulary.size(), kUnknownWord);
}

}  // namespace

void WordCorpus::for_each_token(Split split, std::string_view step,
                                const std::function<void(std::string_view)>& token) const {
  const SplitLines& lines = lines_.split(split);
  const std::uint64_t total = lines.bytes();
  std::uint64_t done = 0;
  std::uint64_t told = 0;
  for (const std::string_view line : lines.lines) {
    if (!rule_.before.empty()) {
      token(rule_.before);
    }
    for_each_word(line, token);
    token(rule_.after);
    done += line.size() + 1;
    constexpr std::uint64_t kOften = std::uint64_t{1} << 24U;
    if (progress_ && (done - told >= kOften || done == total)) {
      told = done;
      progress_(step, done, total);
    }
  }
}

WordVocabulary WordCorpus::train_vocabulary(std::int64_t least_count) const {
  WordCounter counter;
  for_each_token(Split::train, "counting words", [&](std::string_view word) { counter.add(word); });
  return counter.vocabulary(kEndOfLine, least_count);
}

std::array<std::uint64_t, 3> WordCorpus::count_tokens() const {
  std::array<std::uint64_t, 3> counts{};
  for (const Split split : kSplits) {
    for_each_token(split, fmt::format("counting {}", name(split)),
                   [&](std::string_view) { ++counts[index(split)]; });
  }
  return counts;
}

PreparedCorpus WordCorpus::write(const std::filesystem::path& folder,
                                 const WordVocabulary& vocabulary, bool complete) const {
  CorpusManifest manifest{.name = lines_.name(),
                          .vocabulary = vocabulary,
                          .splits = {},
                          .source_bytes = lines_.source_bytes(),
                          .complete = complete};
  const std::array<std::uint64_t, 3> counts = count_tokens();
  for (const Split split : kSplits) {
    manifest.splits[index(split)].tokens = counts[index(split)];
  }
  return write_ids(
      folder, std::move(manifest), [&](Split split, std::string_view step, const AddId& add) {
        const SplitLines& lines = lines_.split(split);
        for_each_token(split, fmt::format("{} {}", step, name(split)), [&](std::string_view word) {
          add(require_id(vocabulary, word, split, lines));
        });
      });
}

}  // namespace rondo
