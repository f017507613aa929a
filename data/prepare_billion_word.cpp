#include "data/prepare_billion_word.h"

#include <array>
#include <optional>
#include <ranges>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/random.h"
#include "data/archive.h"
#include "data/downloaded_archive.h"
#include "data/prepared_folder.h"
#include "data/text_source.h"
#include "data/word_corpus.h"

namespace rondo {
namespace {

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

// Into an order that only the seed decides (Fisher and Yates).
void shuffle(std::vector<std::string_view>& lines, std::uint64_t seed) {
  const RandomStream random = Generator(seed).next();
  for (std::size_t i = lines.size(); i > 1; --i) {
    const std::uint64_t word = (std::uint64_t{random.word(2 * i)} << 32U) | random.word(2 * i + 1);
    std::swap(lines[i - 1], lines[word % i]);
  }
}

// From options.source.
PreparedCorpus prepare_source(const BillionWordOptions& options, const WordVocabulary& vocabulary) {
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
  check(!paths[index(Split::train)].empty(), "{} has no files", train.string());
  std::uint64_t total = 0;
  for (const std::filesystem::path& path : paths | std::views::join) {
    total += std::filesystem::file_size(path, ignored);  // opening it tells what is wrong
  }
  LineCorpus lines((std::string(kBillionWord)));
  for (const Split split : kSplits) {
    for (const std::filesystem::path& path : paths[index(split)]) {
      lines.add(split, path.string(), TextSource(path));
      if (options.progress) {
        options.progress("reading", lines.source_bytes(), total);
      }
    }
  }
  shuffle(lines.lines(Split::train), options.seed);
  return WordCorpus(lines, {kEndOfSentence, kEndOfSentence}, options.progress)
      .write(options.output, vocabulary);
}

PreparedCorpus download_billion_word(const BillionWordOptions& given,
                                     const WordVocabulary& vocabulary) {
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
    PreparedCorpus prepared = prepare_source(options, vocabulary);
    archive.discard();
    return prepared;
  } catch (const ArchiveError& error) {
    archive.refuse(error.what());
  }
}

}  // namespace

PreparedCorpus prepare_billion_word(const BillionWordOptions& options) {
  const FileLock lock = lock_output(options.output);
  const WordVocabulary vocabulary = read_sentence_vocabulary(options.vocabulary);
  return options.source.empty() ? download_billion_word(options, vocabulary)
                                : prepare_source(options, vocabulary);
}

}  // namespace rondo
