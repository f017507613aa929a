#include "data/prepare.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "core/checksum.h"
#include "core/error.h"
#include "core/file.h"
#include "core/log.h"
#include "data/byte_vocabulary.h"
#include "data/zip_entry.h"

namespace rondo {
namespace {

constexpr std::uint64_t kFewestBytes = 1000;  // dev and test then have 50 each
constexpr const char* kEnwik8 = "enwik8";     // the corpus, and the entry of the archive

using Bytes = std::span<const std::uint8_t>;

// Bytes mapped from a file or taken out of an archive.
class Source {
 public:
  explicit Source(const std::filesystem::path& file)
      : mapped_(std::make_unique<MappedFile>(file)) {}
  explicit Source(std::vector<std::uint8_t> bytes) : extracted_(std::move(bytes)) {}

  Bytes bytes() const {
    if (mapped_ == nullptr) {
      return extracted_;
    }
    const std::span<const std::byte> bytes = mapped_->bytes();
    return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
  }

 private:
  std::unique_ptr<MappedFile> mapped_;
  std::vector<std::uint8_t> extracted_;
};

std::array<Bytes, 3> cut(Bytes bytes) {
  const std::size_t part = bytes.size() / 20;
  const std::size_t train = bytes.size() - 2 * part;
  return {bytes.first(train), bytes.subspan(train, part), bytes.last(part)};
}

// The finished corpus in `folder`, if there is one.
std::optional<CorpusManifest> find_prepared(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::exists(manifest_path(folder), ignored)) {
    return std::nullopt;
  }
  try {
    return read_manifest(folder);
  } catch (const Error& error) {
    spdlog::warn("{} is damaged and is prepared again ({})", folder.string(), error.what());
    return std::nullopt;
  }
}

bool holds(const std::filesystem::path& folder, const CorpusManifest& manifest, Bytes bytes) {
  if (manifest.source_bytes != bytes.size()) {
    return false;
  }
  const std::array<Bytes, 3> splits = cut(bytes);
  return std::all_of(kSplits.begin(), kSplits.end(), [&](Split split) {
    const Source file(split_path(folder, split));
    return std::ranges::equal(file.bytes(), splits[index(split)]);
  });
}

PreparedCorpus already_there(const std::filesystem::path& folder, CorpusManifest manifest) {
  spdlog::info("{} already holds the corpus {}: nothing to do", folder.string(), manifest.name);
  return {.manifest = std::move(manifest), .already_there = true};
}

[[noreturn]] void fail_occupied(const std::filesystem::path& folder, const CorpusManifest& found) {
  fail(
      "{} already holds another corpus, {} of {} bytes{}; choose another folder, or delete this "
      "one "
      "first",
      folder.string(), found.name, found.source_bytes,
      found.complete ? "" : " (the beginning of the published file)");
}

// Writes the folder, unless it holds this corpus already.
PreparedCorpus write_corpus(const std::filesystem::path& folder, const std::string& name,
                            Bytes bytes, bool complete) {
  if (std::optional<CorpusManifest> found = find_prepared(folder)) {
    if (found->name != name || !holds(folder, *found, bytes)) {
      fail_occupied(folder, *found);
    }
    return already_there(folder, std::move(*found));
  }
  require_free_space(folder, bytes.size());
  // A damaged corpus must not look whole while its splits are replaced.
  std::filesystem::remove(manifest_path(folder));
  sync_folder(folder);

  const std::array<Bytes, 3> splits = cut(bytes);
  CorpusManifest manifest{.name = name,
                          .vocabulary = ByteVocabulary::of(splits),
                          .splits = {},
                          .source_bytes = bytes.size(),
                          .complete = complete};
  for (const Split split : kSplits) {
    const Bytes part = splits[index(split)];
    write_file_atomically(split_path(folder, split),
                          [part](FileWriter& writer) { writer.write(std::as_bytes(part)); });
    manifest.splits[index(split)] = {.bytes = part.size(), .sha256 = sha256(std::as_bytes(part))};
  }
  write_manifest(folder, manifest);
  return {.manifest = std::move(manifest)};
}

Source open_enwik8(const std::filesystem::path& path, std::uint64_t most) {
  if (is_zip(path)) {
    return Source(read_zip_entry(path, kEnwik8, most));
  }
  return Source(path);
}

void require_enough(const std::filesystem::path& path, Bytes bytes) {
  check(bytes.size() >= kFewestBytes, "{} has {} bytes; a corpus needs at least {}", path.string(),
        bytes.size(), kFewestBytes);
}

// Whether `bytes` is all of Enwik8. Throws unless it is that or could be the beginning of it.
bool is_whole_enwik8(const std::filesystem::path& path, Bytes bytes, const Enwik8Options& options) {
  check(bytes.size() <= options.bytes,
        "{} has {} bytes; Enwik8 has {}. For another text, use `rondo prepare text`", path.string(),
        bytes.size(), options.bytes);
  if (bytes.size() < options.bytes) {
    return false;
  }
  const std::string found = sha1(std::as_bytes(bytes));
  check(found == options.sha1,
        "{} is as long as Enwik8 but is not Enwik8: its SHA-1 is {}; expected {}. Fetch it again "
        "from {}",
        path.string(), found, options.sha1, options.url);
  return true;
}

PreparedCorpus download_enwik8(const Enwik8Options& options) {
  if (std::optional<CorpusManifest> found = find_prepared(options.output)) {
    if (found->name != kEnwik8 || !found->complete) {
      fail_occupied(options.output, *found);
    }
    return already_there(options.output, std::move(*found));
  }
  const std::filesystem::path archive = options.output / "enwik8.zip";
  require_free_space(options.output, options.bytes);
  std::error_code ignored;
  // Only what this call fetched is its own to remove.
  const bool fetched = !std::filesystem::exists(archive, ignored);
  if (fetched) {
    download(options.url, archive, options.progress);
  }
  const auto open_checked = [&] {
    try {
      check(is_zip(archive), "it is not a ZIP archive");
      Source source = open_enwik8(archive, options.bytes);
      check(is_whole_enwik8(archive, source.bytes(), options),
            "its entry enwik8 has {} bytes; expected {}", source.bytes().size(), options.bytes);
      return source;
    } catch (const Error& error) {
      if (!fetched) {
        fail("{}, downloaded earlier, is not Enwik8 ({}); delete it and run the command again",
             archive.string(), error.what());
      }
      std::filesystem::remove(archive, ignored);
      fail(
          "what was downloaded from {} is not Enwik8 ({}); it has been removed: run the command "
          "again",
          options.url, error.what());
    }
  };
  const Source source = open_checked();
  PreparedCorpus prepared = write_corpus(options.output, kEnwik8, source.bytes(), true);
  if (fetched) {
    std::filesystem::remove(archive, ignored);
  }
  return prepared;
}

}  // namespace

PreparedCorpus prepare_enwik8(const Enwik8Options& options) {
  make_folder(options.output);
  if (options.source.empty()) {
    return download_enwik8(options);
  }
  const Source source = open_enwik8(options.source, options.bytes);
  const Bytes bytes = source.bytes();
  require_enough(options.source, bytes);
  const bool whole = is_whole_enwik8(options.source, bytes, options);
  if (!whole) {
    spdlog::warn(
        "{} holds {} of Enwik8's {} bytes: figures on this part cannot be compared with published "
        "ones",
        options.source.string(), bytes.size(), options.bytes);
  }
  return write_corpus(options.output, kEnwik8, bytes, whole);
}

PreparedCorpus prepare_text(const TextOptions& options) {
  make_folder(options.output);
  const Source source(options.source);
  require_enough(options.source, source.bytes());
  const std::string name = options.name.empty() ? options.source.stem().string() : options.name;
  return write_corpus(options.output, name, source.bytes(), true);
}

}  // namespace rondo
