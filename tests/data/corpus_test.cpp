#include "data/corpus.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "data/corpus_manifest.h"
#include "data/prepare.h"
#include "data/prepare_words.h"
#include "tests/support/damage.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

std::string text_of(const Corpus& corpus, Split split) {
  return corpus.vocabulary().decode(corpus.split(split).ids());
}

// A prepared corpus of 2000 bytes.
std::filesystem::path prepare(const TemporaryFolder& folder) {
  std::string text;
  while (text.size() < 2000) {
    text += "Around and around it goes; ";
  }
  write_file_atomically(folder / "song.txt", text.substr(0, 2000));
  prepare_text({.source = folder / "song.txt", .output = folder / "corpus", .name = ""});
  return folder / "corpus";
}

std::string error_opening(const std::filesystem::path& folder) {
  return error_of([&] { Corpus::open(folder.string()); });
}

}  // namespace

TEST_CASE("the built-in corpus holds the repository's files, each in one split", "[data][corpus]") {
  const Corpus corpus = Corpus::open("builtin");
  REQUIRE(corpus.name() == "builtin");
  REQUIRE(corpus.complete());
  std::array<std::string, 3> texts;
  for (const Split split : kSplits) {
    texts[index(split)] = text_of(corpus, split);
  }
  for (const char* file :
       {"CMakeLists.txt", "rondo.h", "cmake/embedded_corpus.cmake", "core/error.h", "core/tensor.h",
        "core/half.h", "core/scalar/philox.h", "data/batcher.cpp", "tests/CMakeLists.txt"}) {
    const std::string text = read_file(std::filesystem::path(RONDO_SOURCE_DIR) / file);
    int found = 0;
    for (const Split split : kSplits) {
      found += texts[index(split)].find(text) != std::string::npos ? 1 : 0;
    }
    INFO(file);
    REQUIRE(found == 1);
  }
}

TEST_CASE("the built-in corpus has a vocabulary of all its splits", "[data][corpus]") {
  const Corpus corpus = Corpus::open("builtin");
  for (const Split split : kSplits) {
    INFO(name(split));
    REQUIRE(corpus.split(split).size() > 0);
    REQUIRE_NOTHROW(corpus.split(split).require_known());
  }
  std::array<bool, 256> occurs{};
  for (const Split split : kSplits) {
    for (const char byte : text_of(corpus, split)) {
      occurs[static_cast<std::uint8_t>(byte)] = true;
    }
  }
  REQUIRE(corpus.vocabulary().size() == std::count(occurs.begin(), occurs.end(), true));
}

TEST_CASE("a corpus can be made of text in memory, and copies outlive it", "[data][corpus]") {
  auto corpus = std::make_unique<Corpus>(Corpus::from("mine", "abc", "bd", ""));
  const Corpus copy = *corpus;
  corpus.reset();
  REQUIRE(copy.name() == "mine");
  REQUIRE(text_of(copy, Split::train) == "abc");
  REQUIRE(text_of(copy, Split::dev) == "bd");
  REQUIRE(copy.split(Split::test).size() == 0);
  REQUIRE(copy.vocabulary().bytes() == ByteVocabulary({'a', 'b', 'c', 'd'}));
}

TEST_CASE("a prepared folder opens as a corpus", "[data][corpus]") {
  const TemporaryFolder folder;
  const Corpus corpus = Corpus::open(prepare(folder).string());
  REQUIRE(corpus.name() == "song");
  REQUIRE(corpus.complete());
  REQUIRE(text_of(corpus, Split::train) + text_of(corpus, Split::dev) +
              text_of(corpus, Split::test) ==
          read_file(folder / "song.txt"));
  REQUIRE_FALSE(corpus.vocabulary().bytes().id('z').has_value());
  REQUIRE(corpus.vocabulary().bytes().id('A').has_value());
}

TEST_CASE("opening says what is missing", "[data][corpus]") {
  const TemporaryFolder folder;
  REQUIRE_THAT(error_opening(folder / "nowhere"),
               ContainsSubstring("no such folder") && ContainsSubstring("rondo prepare"));
  REQUIRE_THAT(error_opening(folder.path()),
               ContainsSubstring("holds no corpus.json") && ContainsSubstring("rondo prepare"));
  write_file_atomically(folder / "file.txt", "text");
  REQUIRE_THAT(error_opening(folder / "file.txt"),
               ContainsSubstring("not a folder") && ContainsSubstring("rondo prepare text"));
}

TEST_CASE("opening refuses a corpus.json it cannot trust", "[data][corpus]") {
  const TemporaryFolder folder;
  const std::filesystem::path corpus = prepare(folder);
  const std::string good = read_file(manifest_path(corpus));
  const auto error_with = [&](const std::string& text) {
    write_file_atomically(manifest_path(corpus), text);
    const std::string message = error_opening(corpus);
    REQUIRE_THAT(message, ContainsSubstring("corpus.json"));
    return message;
  };
  const auto error_with_value = [&](const char* place, const nlohmann::json& value) {
    nlohmann::json document = nlohmann::json::parse(good);
    document[nlohmann::json::json_pointer(place)] = value;
    return error_with(document.dump());
  };
  REQUIRE_THAT(error_with(""), ContainsSubstring("parse error"));
  REQUIRE_THAT(error_with(good.substr(0, good.size() / 2)), ContainsSubstring("parse error"));
  REQUIRE_THAT(error_with("[]"), ContainsSubstring("prepare the corpus again"));
  REQUIRE_THAT(error_with("{}"), ContainsSubstring("format"));
  REQUIRE_THAT(error_with_value("/format", "other"),
               ContainsSubstring("expected one of \"rondo-bytes\""));
  REQUIRE_THAT(error_with_value("/version", 2), ContainsSubstring("version 2"));
  REQUIRE_THAT(error_with_value("/name", 7), ContainsSubstring("string"));
  REQUIRE_THAT(error_with_value("/vocabulary", nlohmann::json::array({1, 300})),
               ContainsSubstring("300"));
  REQUIRE_THAT(error_with_value("/vocabulary", nlohmann::json::array({2, 1})),
               ContainsSubstring("increasing order"));
  REQUIRE_THAT(error_with_value("/vocabulary", "abc"), ContainsSubstring("vocabulary"));
  REQUIRE_THAT(error_with_value("/splits/dev", nlohmann::json::object()),
               ContainsSubstring("bytes"));
  REQUIRE_THAT(error_with_value("/splits/dev/bytes", -1), ContainsSubstring("bytes"));

  write_file_atomically(manifest_path(corpus), good);
  REQUIRE_NOTHROW(Corpus::open(corpus.string()));
}

TEST_CASE("opening refuses splits that do not match corpus.json", "[data][corpus]") {
  const TemporaryFolder folder;
  const std::filesystem::path corpus = prepare(folder);
  SECTION("truncated") {
    std::filesystem::resize_file(corpus / "test.bytes", 99);
    REQUIRE_THAT(error_opening(corpus),
                 ContainsSubstring("test.bytes is 99 bytes long, but corpus.json says 100"));
  }
  SECTION("missing") {
    std::filesystem::remove(corpus / "dev.bytes");
    REQUIRE_THAT(error_opening(corpus),
                 ContainsSubstring("dev.bytes") && ContainsSubstring("prepare the corpus again"));
  }
}

TEST_CASE("a damaged corpus is read or refused, and never crashes", "[data][corpus]") {
  const TemporaryFolder folder;
  const auto prepared = prepare(folder);
  std::string words;
  for (int i = 0; i < 400; ++i) {
    words += fmt::format("word{} ", i % 7) + (i % 9 == 8 ? "\n" : "");
  }
  write_bytes(folder / "words.txt", words);
  prepare_words({.source = folder / "words.txt", .output = folder / "words"});
  for (const auto& corpus : {prepared, folder / "words"}) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(corpus)) {
      files.push_back(entry.path());
    }
    Damaged all;
    for (const auto& file : files) {
      const std::string whole = read_file(file);
      const Damaged result = read_damaged(whole, 4, 500, [&](const std::string& bytes) {
        INFO(file);
        write_bytes(file, bytes);
        const Corpus opened = Corpus::open(corpus.string());
        for (const Split split : kSplits) {
          opened.split(split).require_known();
          text_of(opened, split);
        }
      });
      all.read += result.read;
      all.refused += result.refused;
      write_bytes(file, whole);
    }
    REQUIRE(all.read > 0);
    REQUIRE(all.refused > 0);
  }
}

TEST_CASE("a corpus nested beyond all sense is refused", "[data][corpus]") {
  const TemporaryFolder folder;
  const auto corpus = prepare(folder);
  auto manifest = nlohmann::json::parse(read_file(corpus / "corpus.json"));
  manifest["vocabulary"] = "DEEP";
  std::string text = manifest.dump();
  const std::size_t at = text.find("\"DEEP\"");
  text.replace(at, 6, std::string(200'000, '[') + std::string(200'000, ']'));
  write_bytes(corpus / "corpus.json", text);
  REQUIRE_THAT(error_opening(corpus), ContainsSubstring("something else than numbers"));
}
