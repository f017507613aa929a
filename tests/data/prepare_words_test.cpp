#include "data/prepare_words.h"

#include "core/file.h"
#include "tests/data/archive_maker.h"
#include "tests/data/corpus_text.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

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
  prepare_words({source, folder / "corpus"});
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

TEST_CASE("a packed file is a text of its own, whatever its name", "[data][prepare]") {
  const TemporaryFolder folder;
  std::string text;
  for (int line = 0; line < 100; ++line) {
    text += "some words here\n";
  }
  const std::filesystem::path source =
      make_archive(folder / "train.txt.gz", kGz, {{"train.txt", text}});
  prepare_words({source, folder / "corpus"});
  const Corpus corpus = Corpus::open((folder / "corpus").string());
  REQUIRE(corpus.name() == "train");
  REQUIRE(corpus.split(Split::train).size() == 90 * 4);
}

TEST_CASE("a rare word is unknown when a text says how often is enough", "[data][prepare]") {
  const TemporaryFolder folder;
  make_folder(folder / "splits");
  write_bytes(folder / "splits" / "train.txt", "a a b\n");
  write_bytes(folder / "splits" / "valid.txt", "a b\n");
  write_bytes(folder / "splits" / "test.txt", "a c\n");
  const TextOptions options{folder / "splits", folder / "corpus"};
  REQUIRE_THAT(error_of([&] { prepare_words(options); }),
               ContainsSubstring("'c'") && ContainsSubstring("--least-count 2"));
  prepare_words(options, 2);
  const Corpus corpus = Corpus::open((folder / "corpus").string());
  REQUIRE(text_of(corpus, Split::train) == "a a <unk>\n");
  REQUIRE(text_of(corpus, Split::dev) == "a <unk>\n");
  REQUIRE(text_of(corpus, Split::test) == "a <unk>\n");
}
