#include "data/prepare.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "core/checksum.h"
#include "core/error.h"
#include "core/file.h"
#include "core/log.h"
#include "data/archive.h"
#include "data/downloaded_archive.h"
#include "data/prepared_folder.h"
#include "data/text_source.h"

namespace rondo {
namespace {

constexpr std::uint64_t kFewestBytes = 1000;  // dev and test then have 50 each

using Bytes = std::span<const std::uint8_t>;

using Splits = std::array<Bytes, 3>;

Splits cut(Bytes bytes) {
  const std::size_t part = bytes.size() / 20;
  const std::size_t train = bytes.size() - 2 * part;
  return {bytes.first(train), bytes.subspan(train, part), bytes.last(part)};
}

std::uint64_t total(const Splits& splits) {
  return splits[0].size() + splits[1].size() + splits[2].size();
}

bool holds(const std::filesystem::path& folder, const CorpusManifest& manifest,
           const Splits& splits) {
  if (manifest.vocabulary.unit() != Unit::bytes || manifest.source_bytes != total(splits)) {
    return false;
  }
  return std::all_of(kSplits.begin(), kSplits.end(), [&](Split split) {
    const TextSource file(split_path(folder, split, Unit::bytes));
    return std::ranges::equal(file.bytes(), splits[index(split)]);
  });
}

// Writes the folder, unless it holds this corpus already.
PreparedCorpus write_corpus(const std::filesystem::path& folder, const std::string& name,
                            const Splits& splits, bool complete) {
  if (std::optional<CorpusManifest> found = find_prepared(folder)) {
    if (found->name != name || !holds(folder, *found, splits)) {
      fail_occupied(folder, *found);
    }
    return already_there(folder, std::move(*found));
  }
  require_free_space(folder, total(splits));
  clear_manifest(folder);
  CorpusManifest manifest{.name = name,
                          .vocabulary = ByteVocabulary::of(splits),
                          .splits = {},
                          .source_bytes = total(splits),
                          .complete = complete};
  for (const Split split : kSplits) {
    const Bytes part = splits[index(split)];
    write_file_atomically(split_path(folder, split, Unit::bytes),
                          [part](FileWriter& writer) { writer.write(std::as_bytes(part)); });
    manifest.splits[index(split)] = record_of(folder, split, Unit::bytes, part.size());
  }
  write_manifest(folder, manifest);
  return {.manifest = std::move(manifest)};
}

TextSource open_large_text(const std::filesystem::path& path, const LargeTextOptions& options) {
  if (is_archive(path)) {
    return TextSource(
        std::move(read_archive_entries(path, {&options.name, 1}, options.bytes).front()));
  }
  return TextSource(path);
}

void require_enough(const std::filesystem::path& path, Bytes bytes) {
  check(bytes.size() >= kFewestBytes, "{} has {} bytes; a corpus needs at least {}", path.string(),
        bytes.size(), kFewestBytes);
}

// Whether `bytes` is all of the text. Throws unless it is that or could be the beginning of it.
bool is_whole(const std::filesystem::path& path, Bytes bytes, const LargeTextOptions& options) {
  check(bytes.size() <= options.bytes,
        "{} has {} bytes; {} has {}. For another text, use `rondo prepare text`", path.string(),
        bytes.size(), options.title, options.bytes);
  if (bytes.size() < options.bytes) {
    return false;
  }
  const std::string found = sha1(std::as_bytes(bytes));
  check(options.sha1.empty() || found == options.sha1,
        "{} is as long as {} but is not {}: its SHA-1 is {}; expected {}. Fetch it again from {}",
        path.string(), options.title, options.title, found, options.sha1, options.url);
  return true;
}

PreparedCorpus download_large_text(const LargeTextOptions& options) {
  if (std::optional<CorpusManifest> found = find_prepared(options.output)) {
    if (found->name != options.name || !found->complete) {
      fail_occupied(options.output, *found);
    }
    return already_there(options.output, std::move(*found));
  }
  require_free_space(options.output, options.bytes);
  const DownloadedArchive archive(options.output / (options.name + ".zip"), options.url,
                                  options.title, options.progress);
  const auto open_checked = [&] {
    try {
      check(is_archive(archive.path()), "it is no archive");
      TextSource source = open_large_text(archive.path(), options);
      check(is_whole(archive.path(), source.bytes(), options),
            "its entry {} has {} bytes; expected {}", options.name, source.bytes().size(),
            options.bytes);
      return source;
    } catch (const Error& error) {
      archive.refuse(error.what());
    }
  };
  const TextSource source = open_checked();
  PreparedCorpus prepared = write_corpus(options.output, options.name, cut(source.bytes()), true);
  archive.discard();
  return prepared;
}

}  // namespace

LargeTextOptions enwik8() {
  LargeTextOptions options;
  options.url = "http://mattmahoney.net/dc/enwik8.zip";
  options.name = "enwik8";
  options.title = "Enwik8";
  options.bytes = 100'000'000;
  options.sha1 = "57b8363b814821dc9d47aa4d41f58733519076b2";
  return options;
}

LargeTextOptions text8() {
  LargeTextOptions options;
  options.url = "http://mattmahoney.net/dc/text8.zip";
  options.name = "text8";
  options.title = "text8";
  options.bytes = 100'000'000;
  return options;
}

PreparedCorpus prepare_large_text(const LargeTextOptions& options) {
  const FileLock lock = lock_output(options.output);
  if (options.source.empty()) {
    return download_large_text(options);
  }
  const TextSource source = open_large_text(options.source, options);
  const Bytes bytes = source.bytes();
  require_enough(options.source, bytes);
  const bool whole = is_whole(options.source, bytes, options);
  if (!whole) {
    spdlog::warn(
        "{} holds {} of {}'s {} bytes: figures on this part cannot be compared with published ones",
        options.source.string(), bytes.size(), options.title, options.bytes);
  }
  return write_corpus(options.output, options.name, cut(bytes), whole);
}

std::optional<SplitFiles> find_split_files(const std::filesystem::path& folder) {
  SplitFiles files;
  std::size_t found = 0;
  std::error_code ignored;
  for (const Split split : kSplits) {
    std::vector<std::string> names = {fmt::format("{}.txt", name(split))};
    if (split == Split::dev) {
      names.emplace_back("valid.txt");
    }
    for (const std::string& file : names) {
      if (files[index(split)].empty() && std::filesystem::is_regular_file(folder / file, ignored)) {
        files[index(split)] = folder / file;
        ++found;
      }
    }
  }
  if (found == 0) {
    return std::nullopt;
  }
  for (const Split split : kSplits) {
    check(!files[index(split)].empty(),
          "{} has {} of the splits, but no {}.txt{}; give all of train.txt, dev.txt (or valid.txt) "
          "and test.txt, or none",
          folder.string(), found, name(split), split == Split::dev ? " or valid.txt" : "");
  }
  return files;
}

PreparedCorpus prepare_text(const TextOptions& options) {
  const FileLock lock = lock_output(options.output);
  const std::string name = options.name.empty() ? corpus_name(options.source) : options.name;
  const UnpackedSource unpacked(options.source, options.output, nullptr,
                                on_step(options.progress, "unpacking"));
  if (const std::optional<SplitFiles> files = find_split_files(unpacked.path())) {
    const std::array sources = {TextSource((*files)[0]), TextSource((*files)[1]),
                                TextSource((*files)[2])};
    for (const Split split : kSplits) {
      check(sources[index(split)].bytes().size() >= 2, "{} has {} bytes; a split needs at least 2",
            (*files)[index(split)].string(), sources[index(split)].bytes().size());
    }
    return write_corpus(options.output, name,
                        {sources[0].bytes(), sources[1].bytes(), sources[2].bytes()}, true);
  }
  const TextSource source = read_source(unpacked.path(), options.bytes);
  require_enough(options.source, source.bytes());
  PreparedCorpus prepared = write_corpus(options.output, name, cut(source.bytes()), true);
  prepared.files = source.files();
  return prepared;
}

}  // namespace rondo
