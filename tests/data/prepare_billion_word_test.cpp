#include "data/prepare_billion_word.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "core/file.h"
#include "data/downloaded_archive.h"
#include "data/word_vocabulary.h"
#include "tests/data/archive_maker.h"
#include "tests/data/corpus_text.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

TEST_CASE("Billion Word has <S> around every sentence and train in a seed's order",
          "[data][prepare]") {
  const TemporaryFolder folder;
  const std::filesystem::path train = folder / "source/training-monolingual.tokenized.shuffled";
  const std::filesystem::path held_out = folder / "source/heldout-monolingual.tokenized.shuffled";
  make_folder(train);
  make_folder(held_out);
  std::vector<std::string> sentences;
  for (int i = 0; i < 30; ++i) {
    sentences.push_back(fmt::format("{} word", std::string(1 + i % 7, 'x')));
    sentences.back() += std::string(static_cast<std::size_t>(i / 7), 'y');
  }
  const auto joined = [&](std::size_t from, std::size_t to) {
    return fmt::format("{}\n", fmt::join(std::span(sentences).subspan(from, to - from), "\n"));
  };
  write_bytes(train / "news.en-00001-of-00100", joined(0, 20));
  write_bytes(train / "news.en-00002-of-00100", joined(20, 30));
  write_bytes(held_out / "news.en.heldout-00000-of-00050", "x word\nunheard of word\n");
  write_bytes(held_out / "news.en.heldout-00001-of-00050", "xx word\n");
  std::string vocabulary = "<S> 1\n</S> 1\n<UNK> 1\nword 30\n";
  for (int i = 1; i <= 7; ++i) {
    vocabulary += std::string(static_cast<std::size_t>(i), 'x') + " 4\n";
  }
  for (int i = 1; i <= 4; ++i) {
    vocabulary += "word" + std::string(static_cast<std::size_t>(i), 'y') + " 4\n";
  }
  write_bytes(folder / "words.txt", vocabulary);
  BillionWordOptions options;
  options.source = folder / "source";
  options.vocabulary = folder / "words.txt";
  options.output = folder / "corpus";
  const auto order = [&](std::uint64_t seed) {
    options.seed = seed;
    std::filesystem::remove_all(options.output);
    prepare_billion_word(options);
    return text_of(Corpus::open(options.output.string()), Split::train);
  };
  const std::string one = order(1);
  REQUIRE(order(1) == one);
  REQUIRE(order(2) != one);
  // Every sentence once, with both its ends: "\nx word\n".
  const Corpus corpus = Corpus::open(options.output.string());
  REQUIRE(corpus.split(Split::train).size() == 30 * 4);
  std::vector<std::string> found;
  for_each_line(one, [&](std::string_view line) {
    if (!line.empty()) {
      found.emplace_back(line);
    }
  });
  REQUIRE(found != sentences);
  std::sort(found.begin(), found.end());
  std::sort(sentences.begin(), sentences.end());
  REQUIRE(found == sentences);
  REQUIRE(text_of(corpus, Split::dev) == "\nxx word\n");
  REQUIRE(text_of(corpus, Split::test) == "\nx word\n\n<UNK> <UNK> word\n");

  std::filesystem::remove_all(options.output);
  const auto error = [&] { return error_of([&] { prepare_billion_word(options); }); };
  SECTION("no <S>, no <UNK>") {
    write_bytes(folder / "words.txt", "word\n");
    REQUIRE_THAT(error(), ContainsSubstring("words.txt has no <S>"));
  }
  SECTION("no <S>") {
    write_bytes(folder / "words.txt", "<UNK>\nword\n");
    REQUIRE_THAT(error(), ContainsSubstring("words.txt has no <S>"));
  }
  SECTION("a word twice") {
    write_bytes(folder / "words.txt", "<S>\nword\nword\n");
    REQUIRE_THAT(error(), ContainsSubstring("words.txt") && ContainsSubstring("twice"));
  }
  SECTION("words that are not UTF-8") {
    write_bytes(folder / "words.txt", "<S>\n<UNK>\n\xFFword\n");
    REQUIRE_THAT(error(), ContainsSubstring("words.txt is not UTF-8"));
  }
  SECTION("a folder is missing") {
    std::filesystem::remove_all(held_out);
    REQUIRE_THAT(error(), ContainsSubstring("heldout-monolingual.tokenized.shuffled is missing"));
  }
}

namespace {

// A stand-in for the One Billion Word benchmark: its archive and vocabulary.
struct BillionWord {
  BillionWord() {
    write_bytes(folder / "words.txt", "<S> 1\n<UNK> 1\nthe 3\ncat 2\n");
    options.vocabulary = folder / "words.txt";
    options.output = folder / "corpus";
    options.url = "file:///the/test/must/not/download";
    options.archive_bytes = 1000;
    options.unpacked_bytes = 1000;
  }

  std::filesystem::path write_archive() const {
    const std::string top = "1-billion-word-language-modeling-benchmark-r13output/";
    const std::string train = top + "training-monolingual.tokenized.shuffled/news.en-";
    const std::string held_out = top + "heldout-monolingual.tokenized.shuffled/news.en.heldout-";
    return make_archive(folder / "server.tar.gz", kTarGz,
                        {{train + "00002-of-00100", "the dog\n"},
                         {train + "00001-of-00100", "the cat\n"},
                         {top + "README", "not text"},
                         {held_out + "00000-of-00050", "cat\n"},
                         {held_out + "00001-of-00050", "the\n"},
                         {held_out + "00002-of-00050", "not of the corpus\n"}});
  }
  void require_prepared() const {
    const Corpus corpus = Corpus::open(options.output.string());
    REQUIRE(corpus.name() == "billion-word");
    REQUIRE(corpus.split(Split::train).size() == 8);
    REQUIRE(text_of(corpus, Split::dev) == "\nthe\n");
    REQUIRE(text_of(corpus, Split::test) == "\ncat\n");
    REQUIRE(contents() == std::set<std::string>{"corpus.json", "dev.ids", "test.ids", "train.ids",
                                                "vocabulary.txt"});
  }
  // What the output folder holds.
  std::set<std::string> contents() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(options.output)) {
      names.insert(entry.path().filename().string());
    }
    return names;
  }
  std::string error() const {
    return error_of([&] { prepare_billion_word(options); });
  }

  TemporaryFolder folder;
  BillionWordOptions options;
};

}  // namespace

TEST_CASE("Billion Word is taken from its archive", "[data][prepare]") {
  BillionWord fixture;
  fixture.options.source = fixture.write_archive();
  SECTION("it is good") {
    std::vector<std::string> steps;
    fixture.options.progress = [&](std::string_view step, std::uint64_t done, std::uint64_t total) {
      if (done == total) {
        steps.emplace_back(step);
      }
    };
    prepare_billion_word(fixture.options);
    fixture.require_prepared();
    REQUIRE(steps == std::vector<std::string>{"unpacking", "reading", "counting train",
                                              "counting dev", "counting test", "writing train",
                                              "writing dev", "writing test"});
    REQUIRE(prepare_billion_word(fixture.options).already_there);
    fixture.require_prepared();
  }
  SECTION("it is cut short") {
    std::filesystem::resize_file(fixture.options.source,
                                 std::filesystem::file_size(fixture.options.source) - 9);
    REQUIRE_THAT(fixture.error(),
                 ContainsSubstring("server.tar.gz") && ContainsSubstring("damaged or cut short"));
    REQUIRE(fixture.contents().empty());
  }
  SECTION("it is another") {
    make_archive(fixture.options.source, kTarGz, {{"wiki/train", "text"}});
    REQUIRE_THAT(fixture.error(), ContainsSubstring("it holds \"wiki/train\""));
    REQUIRE(fixture.contents().empty());
  }
  SECTION("the disk has no room for what it holds") {
    fixture.options.unpacked_bytes = std::uint64_t{1} << 62U;
    REQUIRE_THAT(fixture.error(), ContainsSubstring("free some space"));
    REQUIRE(fixture.contents().empty());
  }
}

TEST_CASE("without a folder, Billion Word is downloaded", "[data][prepare][download]") {
  BillionWord fixture;
  const std::filesystem::path server = fixture.write_archive();
  fixture.options.url = "file://" + server.string();
  SECTION("once") {
    prepare_billion_word(fixture.options);
    fixture.require_prepared();
    fixture.options.url = "file:///nowhere";
    REQUIRE(prepare_billion_word(fixture.options).already_there);
  }
  SECTION("not without a vocabulary") {
    fixture.options.vocabulary = fixture.folder / "none";
    REQUIRE_THAT(fixture.error(), ContainsSubstring("none"));
    REQUIRE(fixture.contents().empty());
  }
  SECTION("not to a full disk") {
    fixture.options.archive_bytes = std::uint64_t{1} << 62U;
    REQUIRE_THAT(fixture.error(), ContainsSubstring("free some space"));
    REQUIRE(fixture.contents().empty());
    // What is there already needs no more room.
    const std::filesystem::path target = fixture.options.output / "billion-word.tar.gz";
    REQUIRE(DownloadedArchive::missing(target, 1000) == 1000);
    write_bytes(target.string() + ".part", std::string(300, 'x'));
    REQUIRE(DownloadedArchive::missing(target, 1000) == 700);
    write_bytes(target, std::string(1001, 'x'));
    REQUIRE(DownloadedArchive::missing(target, 1000) == 0);
  }
  SECTION("what is no archive is removed") {
    write_bytes(server, "<html>Log in to this network first</html>");
    REQUIRE_THAT(fixture.error(),
                 ContainsSubstring("no archive") && ContainsSubstring("has been removed"));
    REQUIRE(fixture.contents().empty());
  }
  SECTION("a damaged archive is removed") {
    std::filesystem::resize_file(server, std::filesystem::file_size(server) - 9);
    REQUIRE_THAT(fixture.error(), ContainsSubstring("has been removed"));
    REQUIRE(fixture.contents().empty());
  }
  SECTION("an archive is kept when something else went wrong") {
    make_folder(fixture.options.output / "train.ids.tmp");  // cannot be written
    REQUIRE_THAT(fixture.error(), ContainsSubstring("train.ids"));
    REQUIRE(fixture.contents() == std::set<std::string>{"billion-word.tar.gz", "train.ids.tmp"});
    std::filesystem::remove(fixture.options.output / "train.ids.tmp");
    fixture.options.url = "file:///nowhere";
    prepare_billion_word(fixture.options);
    REQUIRE(fixture.contents().contains("billion-word.tar.gz"));  // not fetched by this call
  }
}
