#include "data/corpus_manifest.h"

#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "core/checksum.h"
#include "core/error.h"
#include "core/file.h"

namespace rondo {
namespace {

using nlohmann::json;

constexpr std::int64_t kVersion = 1;

// "rondo-bytes", "rondo-words" or "rondo-pieces"
std::string format_of(Unit unit) { return fmt::format("rondo-{}", name(unit)); }

ByteVocabulary parse_bytes(const json& values) {
  std::vector<std::uint8_t> bytes;
  for (const json& value : values) {
    check(value.is_number_integer(),  // which nothing is inside of: to print it is safe
          "its vocabulary holds something else than numbers; expected byte values, 0 to 255");
    check(value >= 0 && value <= 255, "its vocabulary holds {}; expected byte values, 0 to 255",
          value.dump());
    bytes.push_back(value.get<std::uint8_t>());
  }
  return ByteVocabulary(std::move(bytes));
}

// Of words or pieces.
Vocabulary read_vocabulary(const std::filesystem::path& folder, Unit unit, const json& record) {
  const std::filesystem::path path = vocabulary_path(folder, unit);
  const std::string file = path.filename().string();
  std::string content = read_file(path);
  const auto expected = record.at("sha256").get<std::string>();
  const std::string found = sha256(std::as_bytes(std::span(content)));
  check(found == expected, "{} beside it has been changed: its SHA-256 is {}, not {}", file, found,
        expected);
  Vocabulary vocabulary = unit == Unit::words
                              ? Vocabulary(WordVocabulary::from_lines(content))
                              : Vocabulary(PieceVocabulary::from_model(std::move(content)));
  const auto count = record.at(std::string(name(unit))).get<std::int64_t>();
  check(vocabulary.size() == count, "{} beside it has {} {}; expected {}", file, vocabulary.size(),
        name(unit), count);
  return vocabulary;
}

Unit parse_format(const std::string& format) {
  std::vector<std::string> known;
  for (const Unit unit : kUnits) {
    if (format == format_of(unit)) {
      return unit;
    }
    known.push_back(fmt::format("\"{}\"", format_of(unit)));
  }
  throw UnsupportedCorpus(
      fmt::format("its format is \"{}\"; expected one of {}: use a newer Rondo, or prepare the "
                  "corpus in another folder",
                  format, fmt::join(known, ", ")));
}

CorpusManifest parse(const std::filesystem::path& folder, const json& document) {
  const Unit unit = parse_format(document.at("format").get<std::string>());
  const auto version = document.at("version").get<std::int64_t>();
  if (version != kVersion) {
    throw UnsupportedCorpus(fmt::format(
        "it has version {}; this Rondo reads version {}: use the one that made it, or prepare the "
        "corpus in another folder",
        version, kVersion));
  }
  if (unit == Unit::pieces && !has_sentencepiece()) {
    throw UnsupportedCorpus(fmt::format("it holds pieces of words: {}", kNoSentencePiece));
  }

  const json& vocabulary = document.at("vocabulary");
  CorpusManifest manifest{.name = document.at("name").get<std::string>(),
                          .vocabulary = unit == Unit::bytes
                                            ? Vocabulary(parse_bytes(vocabulary))
                                            : read_vocabulary(folder, unit, vocabulary),
                          .splits = {},
                          .source_bytes = document.at("source").at("bytes").get<std::uint64_t>(),
                          .complete = document.at("source").at("complete").get<bool>()};
  for (const Split split : kSplits) {
    const json& record = document.at("splits").at(std::string(name(split)));
    const auto bytes = record.at("bytes").get<std::uint64_t>();
    manifest.splits[index(split)] = {
        .tokens = unit == Unit::bytes ? bytes : record.at("tokens").get<std::uint64_t>(),
        .bytes = bytes,
        .sha256 = record.at("sha256").get<std::string>(),
        .text_bytes = record.value("text_bytes", std::uint64_t{0})};
  }
  return manifest;
}

}  // namespace

std::filesystem::path manifest_path(const std::filesystem::path& folder) {
  return folder / "corpus.json";
}

std::filesystem::path split_path(const std::filesystem::path& folder, Split split, Unit unit) {
  return folder / fmt::format("{}.{}", name(split), unit == Unit::bytes ? "bytes" : "ids");
}

std::filesystem::path vocabulary_path(const std::filesystem::path& folder, Unit unit) {
  return folder / (unit == Unit::pieces ? "vocabulary.model" : "vocabulary.txt");
}

const std::string& vocabulary_file(const Vocabulary& vocabulary) {
  return vocabulary.unit() == Unit::pieces ? vocabulary.pieces().model()
                                           : vocabulary.words().lines();
}

CorpusManifest read_manifest(const std::filesystem::path& folder) {
  constexpr const char* advice = "make it with `rondo prepare`";
  std::error_code ignored;
  check(std::filesystem::exists(folder, ignored),
        "corpus {}: there is no such folder; {}, or use the corpus \"builtin\"", folder.string(),
        advice);
  check(std::filesystem::is_directory(folder, ignored),
        "corpus {}: it is not a folder; {} (`rondo prepare text FILE --output FOLDER` for a text "
        "of your own)",
        folder.string(), advice);
  const std::filesystem::path path = manifest_path(folder);
  check(std::filesystem::exists(path, ignored),
        "corpus {}: it holds no corpus.json, so it is not a prepared corpus or its preparation was "
        "interrupted; {}",
        folder.string(), advice);

  const auto read = [&] {
    try {
      return parse(folder, json::parse(read_file(path)));
    } catch (const json::exception& error) {
      fail("cannot use {}: {}; delete it and prepare the corpus again", path.string(),
           error.what());
    } catch (const UnsupportedCorpus& problem) {
      throw UnsupportedCorpus(fmt::format("cannot use {}: {}", path.string(), problem.what()));
    } catch (const Error& error) {
      fail("cannot use {}: {}; delete it and prepare the corpus again", path.string(),
           error.what());
    }
  };
  CorpusManifest manifest = read();
  for (const Split split : kSplits) {
    const std::filesystem::path file = split_path(folder, split, manifest.vocabulary.unit());
    const std::uint64_t expected = manifest.splits[index(split)].bytes;
    std::error_code code;
    const std::uintmax_t size = std::filesystem::file_size(file, code);
    check(!code, "corpus {}: cannot use {}: {}; prepare the corpus again", folder.string(),
          file.filename().string(), code.message());
    check(size == expected,
          "corpus {}: {} is {} bytes long, but corpus.json says {}; prepare the corpus again",
          folder.string(), file.filename().string(), size, expected);
  }
  return manifest;
}

void write_manifest(const std::filesystem::path& folder, const CorpusManifest& manifest) {
  const Vocabulary& vocabulary = manifest.vocabulary;
  // Keeps the order in which a person wants to read it.
  nlohmann::ordered_json document;
  document["format"] = format_of(vocabulary.unit());
  document["version"] = kVersion;
  document["name"] = manifest.name;
  document["source"] = {{"bytes", manifest.source_bytes}, {"complete", manifest.complete}};
  for (const Split split : kSplits) {
    const SplitRecord& record = manifest.splits[index(split)];
    nlohmann::ordered_json& entry = document["splits"][std::string(name(split))];
    if (vocabulary.unit() != Unit::bytes) {
      entry["tokens"] = record.tokens;
    }
    if (vocabulary.unit() == Unit::pieces) {
      entry["text_bytes"] = record.text_bytes;
    }
    entry["bytes"] = record.bytes;
    entry["sha256"] = record.sha256;
  }
  if (vocabulary.unit() == Unit::bytes) {
    document["vocabulary"] = vocabulary.bytes().bytes();
  } else {
    const std::string& file = vocabulary_file(vocabulary);
    write_file_atomically(vocabulary_path(folder, vocabulary.unit()), file);
    document["vocabulary"] = {{std::string(name(vocabulary.unit())), vocabulary.size()},
                              {"sha256", sha256(std::as_bytes(std::span(file)))}};
  }
  write_file_atomically(
      manifest_path(folder),
      document.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace rondo
