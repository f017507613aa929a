#include "data/corpus_manifest.h"

#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file.h"

namespace rondo {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "rondo-bytes";
constexpr std::int64_t kVersion = 1;

CorpusManifest parse(const json& document) {
  const auto format = document.at("format").get<std::string>();
  check(format == kFormat, "its format is \"{}\"; expected \"{}\"", format, kFormat);
  const auto version = document.at("version").get<std::int64_t>();
  check(version == kVersion, "it has version {}; this Rondo reads version {}", version, kVersion);

  std::vector<std::uint8_t> bytes;
  for (const json& value : document.at("vocabulary")) {
    check(value.is_number_integer() && value >= 0 && value <= 255,
          "its vocabulary holds {}; expected byte values, 0 to 255", value.dump());
    bytes.push_back(value.get<std::uint8_t>());
  }
  CorpusManifest manifest{.name = document.at("name").get<std::string>(),
                          .vocabulary = ByteVocabulary(std::move(bytes)),
                          .splits = {},
                          .source_bytes = document.at("source").at("bytes").get<std::uint64_t>(),
                          .complete = document.at("source").at("complete").get<bool>()};
  for (const Split split : kSplits) {
    const json& record = document.at("splits").at(std::string(name(split)));
    manifest.splits[index(split)] = {.bytes = record.at("bytes").get<std::uint64_t>(),
                                     .sha256 = record.at("sha256").get<std::string>()};
  }
  return manifest;
}

}  // namespace

std::filesystem::path manifest_path(const std::filesystem::path& folder) {
  return folder / "corpus.json";
}

std::filesystem::path split_path(const std::filesystem::path& folder, Split split) {
  return folder / fmt::format("{}.bytes", name(split));
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

  const auto read = [&path] {
    try {
      return parse(json::parse(read_file(path)));
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
    const std::filesystem::path file = split_path(folder, split);
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
  // Keeps the order in which a person wants to read it.
  nlohmann::ordered_json document;
  document["format"] = kFormat;
  document["version"] = kVersion;
  document["name"] = manifest.name;
  document["source"] = {{"bytes", manifest.source_bytes}, {"complete", manifest.complete}};
  for (const Split split : kSplits) {
    const SplitRecord& record = manifest.splits[index(split)];
    document["splits"][std::string(name(split))] = {{"bytes", record.bytes},
                                                    {"sha256", record.sha256}};
  }
  document["vocabulary"] = manifest.vocabulary.bytes();
  write_file_atomically(
      manifest_path(folder),
      document.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace rondo
