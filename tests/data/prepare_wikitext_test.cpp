#include "data/prepare_wikitext.h"

#include <cstdlib>

#include "core/file.h"
#include "data/word_vocabulary.h"
#include "tests/data/archive_maker.h"
#include "tests/data/corpus_text.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

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
