#include "data/prepare_words.h"

#include <algorithm>
#include <optional>
#include <ranges>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "core/checksum.h"
#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "data/archive.h"
#include "data/downloaded_archive.h"
#include "data/id_file.h"
#include "data/prepared_folder.h"
#include "data/text_source.h"
#include "data/utf8.h"

namespace rondo {
namespace {

// A text that a split is made of, and what to call it in messages.
struct NamedText {
  std::string name;
  TextSource source;
};

struct SplitLines {
  std::vector<std::string_view> lines;
  std::vector<std::string> sources;  // names, for messages
};

// What lines are made into ids by.
struct LineRule {
  std::string_view before;  // a word put before every line; empty: none
  std::string_view after = kEndOfLine;
};

// What makes a corpus of words, ready to be written.
struct WordCorpus {
  std::string name;
  std::array<SplitLines, 3> splits;
  LineRule rule;
  std::optional<WordVocabulary> vocabulary;  // none: that of train
  std::int64_t least_count = 1;
  std::uint64_t source_bytes = 0;
  bool complete = true;
  PrepareProgress progress;
};

void require_utf8(const std::string& name, std::string_view text) {
  if (const std::optional<std::size_t> bad = find_invalid_utf8(text)) {
    fail("{} is not UTF-8: byte 0x{:02x} at position {}, in line {}; a corpus of words needs text",
         name, static_cast<unsigned char>(text[*bad]), *bad,
         1 + std::ranges::count(text.substr(0, *bad), '\n'));
  }
}

// Adds the lines of `text`, which must stay where it is.
void add_lines(SplitLines& split, WordCorpus& corpus, const std::string& name,
               std::string_view text) {
  check(!text.empty(), "{} is empty; expected text", name);
  require_utf8(name, text);
  for_each_line(text, [&](std::string_view line) { split.lines.push_back(line); });
  split.sources.push_back(name);
  corpus.source_bytes += text.size();
}

// Tells of its progress as that of `step`.
void for_each_token(const WordCorpus& corpus, Split split, std::string_view step,
                    const std::function<void(std::string_view)>& token) {
  const std::vector<std::string_view>& lines = corpus.splits[index(split)].lines;
  const LineRule& rule = corpus.rule;
  std::uint64_t total = 0;
  for (const std::string_view line : lines) {
    total += line.size() + 1;
  }
  std::uint64_t done = 0;
  std::uint64_t told = 0;
  for (const std::string_view line : lines) {
    if (!rule.before.empty()) {
      token(rule.before);
    }
    for_each_word(line, token);
    token(rule.after);
    done += line.size() + 1;
    constexpr std::uint64_t kOften = std::uint64_t{1} << 24U;
    if (corpus.progress && (done - told >= kOften || done == total)) {
      told = done;
      corpus.progress(step, done, total);
    }
  }
}

std::uint64_t count_tokens(const WordCorpus& corpus, Split split) {
  std::uint64_t count = 0;
  for_each_token(corpus, split, fmt::format("counting {}", name(split)),
                 [&](std::string_view) { ++count; });
  return count;
}

WordVocabulary vocabulary_of(const WordCorpus& corpus) {
  if (corpus.vocabulary) {
    return *corpus.vocabulary;
  }
  WordCounter counter;
  for_each_token(corpus, Split::train, "counting words",
                 [&](std::string_view word) { counter.add(word); });
  return counter.vocabulary(kEndOfLine, corpus.least_count);
}

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
      "stand for it; give words that are rare to it with a least count above 1",
      name(split), fmt::join(lines.sources, ", "), number, word, vocabulary.size(), kUnknownWord);
}

// Whether a file of ids holds the tokens of a split.
bool has_ids(const IdFile& file, const WordVocabulary& vocabulary, const WordCorpus& corpus,
             Split split) {
  const TokenText text = file.text();
  std::int64_t at = 0;
  bool same = true;
  for_each_token(corpus, split, "comparing", [&](std::string_view word) {
    std::int32_t id = 0;
    same = same && at < text.size();
    if (same) {
      text.write(at++, 1, &id, 1);
      same = vocabulary.find(word) == id;
    }
  });
  return same && at == text.size();
}

// Whether `folder` holds this corpus: the same words in the same order.
bool holds(const std::filesystem::path& folder, const CorpusManifest& found,
           const WordCorpus& wanted, const WordVocabulary& vocabulary) {
  return found.name == wanted.name && found.source_bytes == wanted.source_bytes &&
         found.vocabulary == Vocabulary(vocabulary) &&
         std::ranges::all_of(kSplits, [&](Split split) {
           const IdFile file(split_path(folder, split, Unit::words), vocabulary.size());
           return has_ids(file, vocabulary, wanted, split);
         });
}

PreparedCorpus write_corpus(const std::filesystem::path& folder, const WordCorpus& corpus) {
  const WordVocabulary vocabulary = vocabulary_of(corpus);
  CorpusManifest manifest{.name = corpus.name,
                          .vocabulary = vocabulary,
                          .splits = {},
                          .source_bytes = corpus.source_bytes,
                          .complete = corpus.complete};
  std::uint64_t size = vocabulary.lines().size();
  for (const Split split : kSplits) {
    const std::uint64_t tokens = count_tokens(corpus, split);
    manifest.splits[index(split)].tokens = tokens;
    size += id_file_size(static_cast<std::int64_t>(tokens), vocabulary.size());
  }
  if (std::optional<CorpusManifest> found = find_prepared(folder)) {
    if (!holds(folder, *found, corpus, vocabulary)) {
      fail_occupied(folder, *found);
    }
    return already_there(folder, std::move(*found));
  }
  require_free_space(folder, size);
  clear_manifest(folder);
  for (const Split split : kSplits) {
    const SplitLines& lines = corpus.splits[index(split)];
    SplitRecord& record = manifest.splits[index(split)];
    write_id_file(split_path(folder, split, Unit::words), static_cast<std::int64_t>(record.tokens),
                  vocabulary.size(), [&](const auto& add) {
                    for_each_token(corpus, split, fmt::format("writing {}", name(split)),
                                   [&](std::string_view word) {
                                     add(require_id(vocabulary, word, split, lines));
                                   });
                  });
    record = record_of(folder, split, Unit::words, record.tokens);
  }
  write_manifest(folder, manifest);
  return {.manifest = std::move(manifest)};
}

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
      texts.push_back({entries[index(split)], TextSource(std::move(contents[index(split)]))});
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
    texts.push_back({path.string(), TextSource(path)});
  }
  return texts;
}

// Whether the counts are the published ones.
bool has_counts(const CorpusManifest& manifest, const WikiTextOptions& options) {
  return manifest.vocabulary.size() == options.words &&
         std::ranges::equal(manifest.splits, options.tokens,
                            [](const SplitRecord& record, std::int64_t tokens) {
                              return record.tokens == static_cast<std::uint64_t>(tokens);
                            });
}

// The words of a file that has one first on every line.
WordVocabulary read_vocabulary(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  require_utf8(path.string(), text);
  try {
    return WordVocabulary::from_lines(text);
  } catch (const Error& error) {
    fail("cannot use {} as a vocabulary: {}", path.string(), error.what());
  }
}

// Of the One Billion Word benchmark: the vocabulary, which must have a word for sentences' ends.
WordVocabulary read_sentence_vocabulary(const std::filesystem::path& path) {
  WordVocabulary vocabulary = read_vocabulary(path);
  const std::optional<std::int32_t> border = vocabulary.find(kEndOfSentence);
  check(border && vocabulary.word(*border) == kEndOfSentence,
        "{} has no {}, which stands before and after every sentence", path.string(),
        kEndOfSentence);
  return vocabulary;
}

constexpr std::string_view kBillionWord = "billion-word";
constexpr std::string_view kTrainFolder = "training-monolingual.tokenized.shuffled";
constexpr std::string_view kHeldOutFolder = "heldout-monolingual.tokenized.shuffled";
// The usual protocol: the first of the 50 held-out files is test, the second is for development.
constexpr std::string_view kTestFile = "news.en.heldout-00000-of-00050";
constexpr std::string_view kDevFile = "news.en.heldout-00001-of-00050";

// Whether an entry of the archive is one of the files that the corpus is made of.
bool is_billion_word_file(const std::string& name) {
  const std::filesystem::path path(name);
  const std::filesystem::path folder = path.parent_path().filename();
  return folder == kTrainFolder || (folder == kHeldOutFolder &&
                                    (path.filename() == kTestFile || path.filename() == kDevFile));
}

PreparedCorpus download_billion_word(const BillionWordOptions& given) {
  BillionWordOptions options = given;
  if (std::optional<CorpusManifest> found = find_prepared(options.output)) {
    if (found->name != kBillionWord) {
      fail_occupied(options.output, *found);
    }
    return already_there(options.output, std::move(*found));
  }
  options.source = options.output / fmt::format("{}.tar.gz", kBillionWord);
  const std::uint64_t missing = DownloadedArchive::missing(options.source, options.archive_bytes);
  require_free_space(options.output, missing + options.unpacked_bytes);
  const DownloadedArchive archive(options.source, options.url, "the One Billion Word benchmark",
                                  options.progress);
  try {
    if (!is_archive(archive.path())) {
      throw ArchiveError("it is no archive");
    }
    PreparedCorpus prepared = prepare_billion_word(options);
    archive.discard();
    return prepared;
  } catch (const ArchiveError& error) {
    archive.refuse(error.what());
  }
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
  make_folder(options.output);
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
  const std::vector<NamedText> texts = open_checked();
  WordCorpus corpus;
  corpus.name = options.name;
  corpus.progress = options.progress;
  for (const Split split : kSplits) {
    const NamedText& text = texts[index(split)];
    add_lines(corpus.splits[index(split)], corpus, text.name, text.source.text());
  }
  // Counted before anything is written, for the manifest says whether the corpus is whole.
  const WordVocabulary vocabulary = vocabulary_of(corpus);
  CorpusManifest counted{.name = corpus.name, .vocabulary = vocabulary, .splits = {}};
  for (const Split split : kSplits) {
    counted.splits[index(split)].tokens = count_tokens(corpus, split);
  }
  corpus.complete = has_counts(counted, options);
  corpus.vocabulary = vocabulary;
  const auto counts = [](const auto& words, const auto& a, const auto& b, const auto& c) {
    return fmt::format("{} words and {} / {} / {} tokens", words, a, b, c);
  };
  if (!corpus.complete) {
    const std::string found = counts(vocabulary.size(), counted.splits[0].tokens,
                                     counted.splits[1].tokens, counted.splits[2].tokens);
    const std::string published =
        counts(options.words, options.tokens[0], options.tokens[1], options.tokens[2]);
    if (archive && archive->fetched()) {
      archive->refuse(fmt::format("it has {}, the published corpus {}", found, published));
    }
    spdlog::warn(
        "{} has {}, the published {} {}: figures on it cannot be compared with published "
        "ones",
        options.source.string(), found, options.name, published);
  }
  PreparedCorpus prepared = write_corpus(options.output, corpus);
  if (archive) {
    archive->discard();
  }
  return prepared;
}

PreparedCorpus prepare_billion_word(const BillionWordOptions& options) {
  make_folder(options.output);
  const WordVocabulary vocabulary = read_sentence_vocabulary(options.vocabulary);
  if (options.source.empty()) {
    return download_billion_word(options);
  }
  if (is_archive_file(options.source)) {
    require_free_space(options.output, options.unpacked_bytes);
  }
  const UnpackedSource source(options.source, options.output, is_billion_word_file,
                              on_step(options.progress, "unpacking"));
  const std::filesystem::path train = source.path() / kTrainFolder;
  const std::filesystem::path held_out = source.path() / kHeldOutFolder;
  std::error_code ignored;
  for (const std::filesystem::path& folder : {train, held_out}) {
    check(std::filesystem::is_directory(folder, ignored),
          "{} is missing; expected 1-billion-word-language-modeling-benchmark-r13output.tar.gz or "
          "the folder it holds",
          folder.string());
  }
  std::array<std::vector<std::filesystem::path>, 3> paths;
  paths[index(Split::train)] = files_below(train);
  paths[index(Split::dev)] = {held_out / kDevFile};
  paths[index(Split::test)] = {held_out / kTestFile};

  std::vector<NamedText> texts;
  WordCorpus corpus;
  corpus.name = kBillionWord;
  corpus.rule = {kEndOfSentence, kEndOfSentence};
  corpus.vocabulary = vocabulary;
  corpus.progress = options.progress;
  check(!paths[index(Split::train)].empty(), "{} has no files", train.string());
  std::uint64_t total = 0;
  for (const std::filesystem::path& path : paths | std::views::join) {
    texts.push_back({path.string(), TextSource(path)});
    total += texts.back().source.bytes().size();
  }
  auto text = texts.begin();
  for (const Split split : kSplits) {
    for (std::size_t i = 0; i < paths[index(split)].size(); ++i, ++text) {
      add_lines(corpus.splits[index(split)], corpus, text->name, text->source.text());
      if (options.progress) {
        options.progress("reading", corpus.source_bytes, total);
      }
    }
  }
  // An order that only the seed decides (Fisher and Yates).
  const RandomStream random = Generator(options.seed).next();
  std::vector<std::string_view>& lines = corpus.splits[index(Split::train)].lines;
  for (std::size_t i = lines.size(); i > 1; --i) {
    const std::uint64_t word = (std::uint64_t{random.word(2 * i)} << 32U) | random.word(2 * i + 1);
    std::swap(lines[i - 1], lines[word % i]);
  }
  return write_corpus(options.output, corpus);
}

PreparedCorpus prepare_word_text(const WordTextOptions& options) {
  make_folder(options.output);
  WordCorpus corpus;
  corpus.name = options.name.empty() ? corpus_name(options.source) : options.name;
  corpus.least_count = options.least_count;
  corpus.progress = options.progress;
  const UnpackedSource unpacked(options.source, options.output, nullptr,
                                on_step(options.progress, "unpacking"));
  if (const std::optional<SplitFiles> files = find_split_files(unpacked.path())) {
    std::vector<NamedText> texts;
    for (const Split split : kSplits) {
      const std::filesystem::path& path = (*files)[index(split)];
      texts.push_back({path.string(), TextSource(path)});
      add_lines(corpus.splits[index(split)], corpus, texts.back().name, texts.back().source.text());
    }
    return write_corpus(options.output, corpus);
  }
  const TextSource source = read_source(unpacked.path(), options.bytes);
  std::string_view rest = source.text();
  // A cut may have parted the bytes of a letter: the rest of it is left out.
  if (const std::optional<std::size_t> bad = find_invalid_utf8(rest);
      bad && options.bytes == rest.size() && rest.size() - *bad < 4) {
    rest = rest.substr(0, *bad);
  }
  // Cut by position as bytes are, at the end of the line that the last byte is in.
  const std::size_t part = rest.size() / 20;
  const std::array ends = {rest.size() - 2 * part, rest.size() - part, rest.size()};
  std::size_t start = 0;
  for (const Split split : kSplits) {
    const std::size_t line_end = rest.find('\n', std::max<std::size_t>(ends[index(split)], 1) - 1);
    const std::size_t end = line_end == std::string_view::npos ? rest.size() : line_end + 1;
    add_lines(corpus.splits[index(split)], corpus,
              fmt::format("{} ({})", options.source.string(), name(split)),
              rest.substr(start, end - start));
    start = end;
  }
  PreparedCorpus prepared = write_corpus(options.output, corpus);
  prepared.files = source.files();
  return prepared;
}

}  // namespace rondo
