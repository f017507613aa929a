#include "data/prepare_wikitext.h"

#include <array>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/log.h"
#include "data/archive.h"
#include "data/downloaded_archive.h"
#include "data/prepared_folder.h"
#include "data/text_source.h"
#include "data/word_corpus.h"

namespace rondo {
namespace {

// What a split is made of, and what to call it in messages.
struct NamedText {
  Split split;
  std::string name;
  TextSource source;
};

// wiki.valid.tokens is the split dev.
std::string wikitext_file(Split split) {
  return fmt::format("wiki.{}.tokens", split == Split::dev ? "valid" : name(split));
}

std::vector<NamedText> open_wikitext(const WikiTextOptions& options) {
  std::vector<NamedText> texts;
  std::error_code ignored;
  if (!std::filesystem::is_directory(options.source, ignored)) {
    constexpr std::uint64_t kMost = std::uint64_t{1} << 31;
    std::array<std::string, 3> entries;
    for (const Split split : kSplits) {
      entries[index(split)] = fmt::format("{}/{}", options.name, wikitext_file(split));
    }
    std::vector<std::vector<std::uint8_t>> contents =
        read_archive_entries(options.source, entries, kMost);
    for (const Split split : kSplits) {
      texts.push_back(
          {split, entries[index(split)], TextSource(std::move(contents[index(split)]))});
    }
    return texts;
  }
  for (const Split split : kSplits) {
    // The folder itself, or that into which the archive was unpacked.
    std::filesystem::path path = options.source / wikitext_file(split);
    if (!std::filesystem::exists(path, ignored)) {
      path = options.source / options.name / wikitext_file(split);
    }
    check(std::filesystem::exists(path, ignored),
          "{} has no {}, so a split is missing; {} has wiki.train.tokens, wiki.valid.tokens and "
          "wiki.test.tokens",
          options.source.string(), wikitext_file(split), options.name);
    texts.push_back({split, path.string(), TextSource(path)});
  }
  return texts;
}

// Says by what the corpus differs from the published one; empty if it does not.
std::string difference(const WikiTextOptions& published, const WordVocabulary& vocabulary,
                       const std::array<std::uint64_t, 3>& tokens) {
  const auto counts = [](std::int64_t words, const auto& of) {
    return fmt::format("{} words and {} / {} / {} tokens", words, of[0], of[1], of[2]);
  };
  const std::string found = counts(vocabulary.size(), tokens);
  const std::string expected = counts(published.words, published.tokens);
  return found == expected
             ? ""
             : fmt::format("it has {}, the published {} {}", found, published.name, expected);
}

}  // namespace

WikiTextOptions wikitext_103() {
  WikiTextOptions options;
  options.name = "wikitext-103";
  options.url = "https://wikitext.smerity.com/wikitext-103-v1.zip";
  options.words = 267'735;
  options.tokens = {103'227'021, 217'646, 245'569};
  return options;
}

WikiTextOptions wikitext_2() {
  WikiTextOptions options;
  options.name = "wikitext-2";
  options.url = "https://wikitext.smerity.com/wikitext-2-v1.zip";
  options.words = 33'278;
  options.tokens = {2'088'628, 217'646, 245'569};
  return options;
}

PreparedCorpus prepare_wikitext(const WikiTextOptions& given) {
  WikiTextOptions options = given;
  const FileLock lock = lock_output(options.output);
  std::optional<DownloadedArchive> archive;
  if (options.source.empty()) {
    if (std::optional<CorpusManifest> found = find_prepared(options.output)) {
      if (found->name != options.name || !found->complete) {
        fail_occupied(options.output, *found);
      }
      return already_there(options.output, std::move(*found));
    }
    archive.emplace(options.output / (options.name + ".zip"), options.url, options.name,
                    options.progress);
    options.source = archive->path();
  }
  const auto open_checked = [&] {
    try {
      return open_wikitext(options);
    } catch (const Error& error) {
      if (!archive) {
        throw;
      }
      archive->refuse(error.what());
    }
  };
  std::vector<NamedText> texts = open_checked();
  LineCorpus lines(options.name);
  for (NamedText& text : texts) {
    lines.add(text.split, text.name, std::move(text.source));
  }
  // Counted before anything is written, for the manifest says whether the corpus is whole.
  const WordCorpus corpus(lines, LineRule(), options.progress);
  const WordVocabulary vocabulary = corpus.train_vocabulary();
  const std::string other = difference(options, vocabulary, corpus.count_tokens());
  if (!other.empty()) {
    if (archive && archive->fetched()) {
      archive->refuse(other);
    }
    spdlog::warn("{}: {}: figures on it cannot be compared with published ones",
                 options.source.string(), other);
  }
  PreparedCorpus prepared = corpus.write(options.output, vocabulary, other.empty());
  if (archive) {
    archive->discard();
  }
  return prepared;
}

}  // namespace rondo
