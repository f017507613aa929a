#include "data/prepare_words.h"

#include <algorithm>
#include <cstdlib>
#include <set>

#include "core/file.h"
#include "data/corpus.h"
#include "data/downloaded_archive.h"
#include "tests/data/archive_maker.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

using Ids = std::vector<std::int32_t>;

Ids ids_of(const Corpus& corpus, Split split) {
  const TokenText& text = corpus.split(split);
  Ids ids(static_cast<std::size_t>(text.size()));
  text.write(0, text.size(), ids.data(), 1);
  return ids;
}

std::string text_of(const Corpus& corpus, Split split) {
  return corpus.vocabulary().decode(ids_of(corpus, split));
}

// A stand-in for WikiText with 6 words and 11 / 6 / 3 tokens.
struct WikiText {
  WikiText() {
    make_folder(folder / "source");
    write("wiki.train.tokens", " \n = A = \n \n the cat <unk> the \n");
    write("wiki.valid.tokens", " the A \n cat \n \n");
    write("wiki.test.tokens", " = the");
    options.source = folder / "source";
    options.output = folder / "corpus";
    options.name = "wikitext-2";
    options.url = "file:///the/test/must/not/download";
    options.words = 6;
    options.tokens = {11, 6, 3};
  }

  void write(const std::string& name, std::string_view text) const {
    write_bytes(folder / "source" / name, text);
  }
  std::filesystem::path write_archive(const std::string& name,
                                      const ArchiveKind& kind = kZip) const {
    ArchiveFiles files;
    for (const char* split : {"train", "valid", "test"}) {
      const std::string file = fmt::format("wiki.{}.tokens", split);
      files.emplace_back("wikitext-2/" + file, read_bytes(folder / "source" / file));
    }
    return make_archive(folder / name, kind, files);
  }
  Corpus open() const { return Corpus::open(options.output.string()); }
  void require_not_prepared() const {
    REQUIRE_FALSE(std::filesystem::exists(manifest_path(options.output)));
  }

  TemporaryFolder folder;
  WikiTextOptions options;
};

}  // namespace

TEST_CASE("WikiText becomes ids, every line closed with <eos>", "[data][prepare]") {
  WikiText fixture;
  SECTION("from a folder") {}
  SECTION("from an archive") {
    fixture.options.source = fixture.write_archive("data", GENERATE(kZip, kTarGz));
  }
  const PreparedCorpus prepared = prepare_wikitext(fixture.options);
  REQUIRE_FALSE(prepared.already_there);
  const Corpus corpus = fixture.open();
  REQUIRE(corpus.name() == "wikitext-2");
  REQUIRE(corpus.complete());
  // <eos> is first in any case; "=" and "the" twice, in order of appearance.
  REQUIRE(corpus.vocabulary() ==
          Vocabulary(WordVocabulary({"<eos>", "=", "the", "A", "cat", "<unk>"})));
  REQUIRE(read_bytes(fixture.options.output / "vocabulary.txt") ==
          "<eos>\n=\nthe\nA\ncat\n<unk>\n");
  REQUIRE(ids_of(corpus, Split::train) == Ids{0, 1, 3, 1, 0, 0, 2, 4, 5, 2, 0});
  REQUIRE(ids_of(corpus, Split::dev) == Ids{2, 3, 0, 4, 0, 0});
  REQUIRE(ids_of(corpus, Split::test) == Ids{1, 2, 0});

  REQUIRE(prepare_wikitext(fixture.options).already_there);
}

TEST_CASE("a part of WikiText is taken with its figures marked", "[data][prepare]") {
  WikiText fixture;
  fixture.write("wiki.test.tokens", " = the = \n");
  REQUIRE_FALSE(prepare_wikitext(fixture.options).manifest.complete);
  REQUIRE_FALSE(fixture.open().complete());
}

TEST_CASE("a downloaded WikiText must be whole", "[data][prepare]") {
  WikiText fixture;
  const std::filesystem::path archive = fixture.write_archive("server.zip");
  fixture.options.source.clear();
  fixture.options.url = "file://" + archive.string();
  SECTION("it is") {
    prepare_wikitext(fixture.options);
    REQUIRE(fixture.open().complete());
    REQUIRE_FALSE(std::filesystem::exists(fixture.options.output / "wikitext-2.zip"));
    fixture.options.url = "file:///nowhere";
    REQUIRE(prepare_wikitext(fixture.options).already_there);
  }
  SECTION("it has other counts") {
    fixture.options.tokens[1] = 7;
    REQUIRE_THAT(
        error_of([&] { prepare_wikitext(fixture.options); }),
        ContainsSubstring("6 words and 11 / 6 / 3") && ContainsSubstring("6 words and 11 / 7 / 3"));
    fixture.require_not_prepared();
  }
  SECTION("it is no archive") {
    write_bytes(archive, "not found");
    REQUIRE_THAT(error_of([&] { prepare_wikitext(fixture.options); }),
                 ContainsSubstring("has been removed"));
    REQUIRE_FALSE(std::filesystem::exists(fixture.options.output / "wikitext-2.zip"));
    fixture.require_not_prepared();
  }
}

TEST_CASE("WikiText that cannot be used says why", "[data][prepare]") {
  WikiText fixture;
  const auto error = [&] {
    const std::string message = error_of([&] { prepare_wikitext(fixture.options); });
    fixture.require_not_prepared();
    return message;
  };
  SECTION("a split is missing") {
    std::filesystem::remove(fixture.folder / "source" / "wiki.train.tokens");
    REQUIRE_THAT(error(),
                 ContainsSubstring("wiki.train.tokens") && ContainsSubstring("a split is missing"));
  }
  SECTION("a split is missing in an archive") {
    fixture.options.source =
        make_archive(fixture.folder / "data.tar", kTar, {{"wikitext-2/wiki.test.tokens", "the"}});
    REQUIRE_THAT(error(), ContainsSubstring("no entry \"wikitext-2/wiki.train.tokens\"; it holds "
                                            "\"wikitext-2/wiki.test.tokens\""));
  }
  SECTION("a file is empty") {
    fixture.write("wiki.valid.tokens", "");
    REQUIRE_THAT(error(), ContainsSubstring("wiki.valid.tokens is empty"));
  }
  SECTION("it is not UTF-8") {
    fixture.write("wiki.valid.tokens", "the A\nca\xC3t\n");
    REQUIRE_THAT(error(), ContainsSubstring("wiki.valid.tokens is not UTF-8: byte 0xc3") &&
                              ContainsSubstring("position 8, in line 2"));
  }
  SECTION("a word is unknown, and nothing stands for it") {
    fixture.write("wiki.train.tokens", "the A cat = \n");
    fixture.write("wiki.test.tokens", "the cat\nthe dog\n");
    REQUIRE_THAT(error(), ContainsSubstring("'dog'") && ContainsSubstring("line 2") &&
                              ContainsSubstring("wiki.test.tokens"));
  }
}

TEST_CASE("a folder with another corpus of words is left as it is", "[data][prepare]") {
  WikiText fixture;
  prepare_wikitext(fixture.options);
  const std::string before = read_bytes(fixture.options.output / "test.ids");
  // As many bytes, words and tokens, in another order.
  fixture.write("wiki.test.tokens", " the =");
  REQUIRE_THAT(error_of([&] { prepare_wikitext(fixture.options); }),
               ContainsSubstring("already holds another corpus"));
  // A corpus of bytes meets it, too.
  std::string text(2000, 'a');
  write_bytes(fixture.folder / "text", text);
  REQUIRE_THAT(error_of([&] {
                 prepare_text({fixture.folder / "text", fixture.options.output, "wikitext-2", 0});
               }),
               ContainsSubstring("already holds another corpus"));
  REQUIRE(read_bytes(fixture.options.output / "test.ids") == before);
}

TEST_CASE("opening finds what is wrong with a corpus of words", "[data][corpus]") {
  WikiText fixture;
  prepare_wikitext(fixture.options);
  const std::filesystem::path corpus = fixture.options.output;
  const auto error = [&] { return error_of([&] { fixture.open(); }); };
  SECTION("a split is cut short") {
    std::filesystem::resize_file(corpus / "train.ids", 40);
    REQUIRE_THAT(error(), ContainsSubstring("train.ids is 40 bytes long, but corpus.json says 54"));
  }
  SECTION("a split is missing") {
    std::filesystem::remove(corpus / "dev.ids");
    REQUIRE_THAT(error(), ContainsSubstring("dev.ids"));
  }
  SECTION("the header is another") {
    std::string bytes = read_bytes(corpus / "dev.ids");
    bytes[8] = 9;
    write_bytes(corpus / "dev.ids", bytes);
    REQUIRE_THAT(error(), ContainsSubstring("dev.ids has version 9"));
  }
  SECTION("a word was changed") {
    write_bytes(corpus / "vocabulary.txt", "<eos>\n=\nthe\nB\ncat\n<unk>\n");
    REQUIRE_THAT(error(), ContainsSubstring("vocabulary.txt") && ContainsSubstring("changed"));
  }
  SECTION("the words are missing") {
    std::filesystem::remove(corpus / "vocabulary.txt");
    REQUIRE_THAT(error(), ContainsSubstring("vocabulary.txt"));
  }
}

TEST_CASE("a corpus of words has its own ids and no others", "[data][corpus]") {
  WikiText fixture;
  prepare_wikitext(fixture.options);
  const Corpus corpus = fixture.open();
  REQUIRE(corpus.split(Split::test, corpus.vocabulary()).size() == 3);
  REQUIRE_THAT(error_of([&] {
                 corpus.split(Split::test, WordVocabulary({"<eos>", "the"}));
               }),
               ContainsSubstring("6 words, the model one of 2 words"));
  REQUIRE_THAT(error_of([&] {
                 corpus.split(Split::test, ByteVocabulary({'a', 'b', 'c'}));
               }),
               ContainsSubstring("6 words, the model one of 3 bytes"));
}

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

TEST_CASE("any text is cut at line ends into splits of words", "[data][prepare]") {
  const TemporaryFolder folder;
  std::string text;
  for (int line = 0; line < 100; ++line) {
    text += "some words here\n";
  }
  write_bytes(folder / "book.txt", text);
  std::filesystem::path source = folder / "book.txt";
  SECTION("a file") {}
  SECTION("an archive") {
    source = make_archive(folder / "book.tar.xz", kTarXz,
                          {{"b", text.substr(160)}, {"a", text.substr(0, 160)}});
  }
  prepare_word_text({source, folder / "corpus", "", 0, 1});
  const Corpus corpus = Corpus::open((folder / "corpus").string());
  REQUIRE(corpus.name() == "book");
  REQUIRE(corpus.split(Split::train).size() == 90 * 4);
  REQUIRE(corpus.split(Split::dev).size() == 5 * 4);
  REQUIRE(corpus.split(Split::test).size() == 5 * 4);
  std::string all;
  for (const Split split : kSplits) {
    all += text_of(corpus, split);
  }
  REQUIRE(all == text);
}

TEST_CASE("a rare word is unknown when a text says how often is enough", "[data][prepare]") {
  const TemporaryFolder folder;
  make_folder(folder / "splits");
  write_bytes(folder / "splits" / "train.txt", "a a b\n");
  write_bytes(folder / "splits" / "valid.txt", "a b\n");
  write_bytes(folder / "splits" / "test.txt", "a c\n");
  WordTextOptions options{folder / "splits", folder / "corpus", "", 0, 1};
  REQUIRE_THAT(error_of([&] { prepare_word_text(options); }),
               ContainsSubstring("'c'") && ContainsSubstring("least count above 1"));
  options.least_count = 2;
  prepare_word_text(options);
  const Corpus corpus = Corpus::open((folder / "corpus").string());
  REQUIRE(text_of(corpus, Split::train) == "a a <unk>\n");
  REQUIRE(text_of(corpus, Split::dev) == "a <unk>\n");
  REQUIRE(text_of(corpus, Split::test) == "a <unk>\n");
}

TEST_CASE("the files below a folder are one text, in the order of their paths", "[data][prepare]") {
  const TemporaryFolder folder;
  make_folder(folder / "tree" / "b");
  make_folder(folder / "elsewhere");
  write_bytes(folder / "tree" / "c", std::string(400, 'c'));
  write_bytes(folder / "tree" / "a", std::string(700, 'a'));
  write_bytes(folder / "tree" / "b" / "b", std::string(500, 'b'));
  write_bytes(folder / "elsewhere" / "d", std::string(500, 'd'));
  std::filesystem::create_symlink(folder / "elsewhere" / "d", folder / "tree" / "aa");
  std::filesystem::create_directory_symlink(folder / "elsewhere", folder / "tree" / "bb");
  const std::string whole = std::string(700, 'a') + std::string(500, 'b') + std::string(400, 'c');
  const auto prepared_text = [&](std::uint64_t bytes, std::size_t files) {
    std::filesystem::remove_all(folder / "corpus");
    const PreparedCorpus prepared = prepare_text({folder / "tree", folder / "corpus", "", bytes});
    REQUIRE(prepared.files == files);
    std::string text;
    for (const Split split : kSplits) {
      text += read_bytes(split_path(folder / "corpus", split, Unit::bytes));
    }
    return text;
  };
  REQUIRE(prepared_text(0, 3) == whole);
  REQUIRE(prepared_text(1100, 2) == whole.substr(0, 1100));
  REQUIRE(prepared_text(5000, 3) == whole);
  make_folder(folder / "empty");
  REQUIRE_THAT(error_of([&] {
                 prepare_text({folder / "empty", folder / "corpus2", "", 0});
               }),
               ContainsSubstring("a folder without files"));
}

// Where RONDO_DATA_DIR names the folder of the published corpora.
TEST_CASE("the published counts of WikiText", "[data][prepare]") {
  const char* const data = std::getenv("RONDO_DATA_DIR");
  if (data == nullptr) {
    WARN("skipped: RONDO_DATA_DIR does not name a folder of corpora");
    return;
  }
  const TemporaryFolder folder;
  const std::filesystem::path source = data;
  if (std::filesystem::exists(source / "wikitext-2" / "wiki.train.tokens")) {
    WikiTextOptions options = wikitext_2();
    options.source = source / "wikitext-2";
    options.output = folder / "wikitext-2";
    prepare_wikitext(options);
    const Corpus corpus = Corpus::open(options.output.string());
    REQUIRE(corpus.vocabulary().size() == 33'278);
    REQUIRE(corpus.split(Split::train).size() == 2'088'628);
    REQUIRE(corpus.split(Split::dev).size() == 217'646);
    REQUIRE(corpus.split(Split::test).size() == 245'569);
    REQUIRE(corpus.complete());
  }
  const auto tokens = [&](const char* file) {
    std::int64_t count = 0;
    for_each_line(read_bytes(source / "wikitext-103" / file), [&](std::string_view line) {
      ++count;  // <eos>
      for_each_word(line, [&](std::string_view) { ++count; });
    });
    return count;
  };
  if (std::filesystem::exists(source / "wikitext-103" / "wiki.valid.tokens")) {
    REQUIRE(tokens("wiki.valid.tokens") == 217'646);
    REQUIRE(tokens("wiki.test.tokens") == 245'569);
  }
}
