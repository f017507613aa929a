#ifdef RONDO_TEST_SENTENCEPIECE
#include "data/prepare_pieces.h"

#include "core/parallel.h"
#include "tests/data/archive_maker.h"
#include "tests/data/corpus_text.h"
#include "tests/support/piece_model.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

struct PieceText {
  PieceText() {
    for (const std::string& line : piece_lines()) {
      text += line + "\n";
    }
    write_bytes(folder / "book.txt", text);
    write_bytes(folder / "book.model", model);
    options.source = folder / "book.txt";
    options.output = folder / "corpus";
  }
  PreparedCorpus prepare() const { return prepare_pieces(options, folder / "book.model"); }
  Corpus open() const { return Corpus::open(options.output.string()); }
  std::string error() const {
    return error_of([&] { prepare(); });
  }

  TemporaryFolder folder;
  std::string model = train_piece_model(piece_lines(), 20);
  std::string text;
  TextOptions options;
};

}  // namespace

TEST_CASE("a text becomes a corpus of pieces, cut at line ends", "[data][prepare][pieces]") {
  PieceText fixture;
  SECTION("a file") {}
  SECTION("an archive") {
    fixture.options.source =
        make_archive(fixture.folder / "book.tar.gz", kTarGz,
                     {{"b", fixture.text.substr(100)}, {"a", fixture.text.substr(0, 100)}});
  }
  REQUIRE_FALSE(fixture.prepare().already_there);
  const Corpus corpus = fixture.open();
  REQUIRE(corpus.name() == "book");
  REQUIRE(corpus.vocabulary().unit() == Unit::pieces);
  REQUIRE(read_bytes(fixture.options.output / "vocabulary.model") == fixture.model);
  std::string all;
  for (const Split split : kSplits) {
    const std::string part = text_of(corpus, split);
    REQUIRE(part.ends_with('\n'));
    REQUIRE(corpus.text_bytes(split) == part.size());
    REQUIRE(ids_of(corpus, split) == corpus.vocabulary().encode(part));
    all += part;
  }
  REQUIRE(all == fixture.text);
  REQUIRE(fixture.prepare().already_there);
}

TEST_CASE("the ids of pieces do not depend on threads", "[data][prepare][pieces]") {
  PieceText fixture;
  fixture.prepare();
  const Ids ids = ids_of(fixture.open(), Split::train);
  const int threads = num_threads();
  set_num_threads(threads == 1 ? 2 : 1);
  std::filesystem::remove_all(fixture.options.output);
  fixture.prepare();
  set_num_threads(threads);
  REQUIRE(ids_of(fixture.open(), Split::train) == ids);
}

TEST_CASE("a text of pieces that cannot be used says why", "[data][prepare][pieces]") {
  PieceText fixture;
  SECTION("no such model") {
    std::filesystem::remove(fixture.folder / "book.model");
    REQUIRE_THAT(fixture.error(), ContainsSubstring("book.model"));
  }
  SECTION("not a model") {
    write_bytes(fixture.folder / "book.model", "words\n");
    REQUIRE_THAT(fixture.error(),
                 ContainsSubstring("book.model") && ContainsSubstring("not a SentencePiece model"));
  }
  SECTION("not text") {
    write_bytes(fixture.folder / "book.txt", fixture.text + "\xff\n");
    REQUIRE_THAT(fixture.error(), ContainsSubstring("not UTF-8"));
  }
  SECTION("another corpus is there") {
    fixture.prepare();
    write_bytes(fixture.folder / "book.model", train_piece_model(piece_lines(), 21));
    REQUIRE_THAT(fixture.error(), ContainsSubstring("already holds another corpus"));
  }
}

TEST_CASE("opening finds what is wrong with a corpus of pieces", "[data][corpus][pieces]") {
  PieceText fixture;
  fixture.prepare();
  SECTION("another model") {
    write_bytes(fixture.options.output / "vocabulary.model", train_piece_model(piece_lines(), 21));
    REQUIRE_THAT(error_of([&] { fixture.open(); }),
                 ContainsSubstring("vocabulary.model") && ContainsSubstring("has been changed"));
  }
  SECTION("no model") {
    std::filesystem::remove(fixture.options.output / "vocabulary.model");
    REQUIRE_THAT(error_of([&] { fixture.open(); }), ContainsSubstring("vocabulary.model"));
  }
}
#endif
