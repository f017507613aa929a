#include "data/corpus_manifest.h"

#include <nlohmann/json.hpp>
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

// "rondo-bytes" or "rondo-words"
std::string format_of(Unit unit) { return fmt::format("rondo-{}", name(unit)); }

ByteVocabulary parse_bytes(const json& values) {
  std::vector<std::uint8_t> bytes;
  for (const json& value : values) {
    check(value.is_number_integer() && value >= 0 && value <= 255,
          "its vocabulary holds {}; expected byte values, 0 to 255", value.dump());
    bytes.push_back(value.get<std::uint8_t>());
  }
  return ByteVocabulary(std::move(bytes));
}

WordVocabulary read_words(const std::filesystem::path& folder, const json& record) {
  const std::string text = read_file(vocabulary_path(folder));
  const auto expected = record.at("sha256").get<std::string>();
  const std::string found = sha256(std::as_bytes(std::span(text)));
  check(found == expected, "vocabulary.txt beside it has been changed: its SHA-256 is {}, not {}",
        found, expected);
  WordVocabulary words = WordVocabulary::from_lines(text);
  const auto count = record.at("words").get<std::int64_t>();
  check(words.size() == count, "vocabulary.txt beside it has {} words; expected {}", words.size(),
        count);
  return words;
}

CorpusManifest parse(const std::filesystem::path& folder, const json& document) {
  const auto format = document.at("format").get<std::string>();
  const bool words = format == format_of(Unit::words);
  check(words || format == format_of(Unit::bytes),
        "its format is \"{}\"; expected \"{}\" or \"{}\"", format, format_of(Unit::bytes),
        format_of(Unit::words));
  const auto version = document.at("version").get<std::int64_t>();
  check(version == kVersion, "it has version {}; this Rondo reads version {}", version, kVersion);

  const json& vocabulary = document.at("vocabulary");
  CorpusManifest manifest{.name = document.at("name").get<std::string>(),
                          .vocabulary = words ? Vocabulary(read_words(folder, vocabulary))
                                              : Vocabulary(parse_bytes(vocabulary)),
                          .splits = {},
                          .source_bytes = document.at("source").at("bytes").get<std::uint64_t>(),
                          .complete = document.at("source").at("complete").get<bool>()};
  for (const Split split : kSplits) {
    const json& record = document.at("splits").at(std::string(name(split)));
    const auto bytes = record.at("bytes").get<std::uint64_t>();
    manifest.splits[index(split)] = {
        .tokens = words ? record.at("tokens").get<std::uint64_t>() : bytes,
        .bytes = bytes,
        .sha256 = record.at("sha256").get<std::string>()};
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

std::filesystem::path vocabulary_path(const std::filesystem::path& folder) {
  return folder / "vocabulary.txt";
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
    if (vocabulary.unit() == Unit::words) {
      entry["tokens"] = record.tokens;
    }
    entry["bytes"] = record.bytes;
    entry["sha256"] = record.sha256;
  }
  if (vocabulary.unit() == Unit::words) {
    const std::string& lines = vocabulary.words().lines();
    write_file_atomically(vocabulary_path(folder), lines);
    document["vocabulary"] = {{"words", vocabulary.size()},
                              {"sha256", sha256(std::as_bytes(std::span(lines)))}};
  } else {
    document["vocabulary"] = vocabulary.bytes().bytes();
  }
  write_file_atomically(
      manifest_path(folder),
      document.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace rondo
