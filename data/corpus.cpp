#include "data/corpus.h"

#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "data/corpus_manifest.h"
#include "data/id_file.h"

// cmake/builtin_corpus.S.in: one split ends where the next begins.
extern "C" {
extern const std::uint8_t rondo_builtin_train[];
extern const std::uint8_t rondo_builtin_dev[];
extern const std::uint8_t rondo_builtin_test[];
extern const std::uint8_t rondo_builtin_end[];
}

namespace rondo {
namespace {

using Bytes = std::span<const std::uint8_t>;

Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::array<TokenText, 3> texts(const std::array<Bytes, 3>& splits,
                               const ByteVocabulary& vocabulary) {
  return {TokenText(splits[0], vocabulary), TokenText(splits[1], vocabulary),
          TokenText(splits[2], vocabulary)};
}

}  // namespace

Corpus::Corpus(std::string name, Splits splits, Vocabulary vocabulary, bool complete,
               std::shared_ptr<const void> owner, std::string train_sha256)
    : name_(std::move(name)),
      splits_(std::move(splits)),
      vocabulary_(std::move(vocabulary)),
      complete_(complete),
      owner_(std::move(owner)),
      train_sha256_(std::move(train_sha256)) {}

Corpus Corpus::open(const std::string& name_or_folder) {
  return name_or_folder == "builtin" ? builtin() : open_folder(name_or_folder);
}

Corpus Corpus::from(std::string name, std::string_view train, std::string_view dev,
                    std::string_view test) {
  auto owned = std::make_shared<std::array<std::string, 3>>();
  *owned = {std::string(train), std::string(dev), std::string(test)};
  const std::array splits = {bytes_of((*owned)[0]), bytes_of((*owned)[1]), bytes_of((*owned)[2])};
  const ByteVocabulary vocabulary = ByteVocabulary::of(splits);
  return {std::move(name), texts(splits, vocabulary), vocabulary, true, std::move(owned)};
}

TokenText Corpus::split(Split split, const Vocabulary& vocabulary) const {
  if (vocabulary == vocabulary_) {
    return splits_[index(split)];
  }
  check(vocabulary.unit() == Unit::bytes && vocabulary_.unit() == Unit::bytes,
        "the corpus {} has a vocabulary of {} {}, the model one of {} {}: their ids mean different "
        "things; use the corpus that the model was trained on, or one prepared with its vocabulary",
        name_, vocabulary_.size(), rondo::name(vocabulary_.unit()), vocabulary.size(),
        rondo::name(vocabulary.unit()));
  return splits_[index(split)].with_vocabulary(vocabulary.bytes());
}

Corpus Corpus::builtin() {
  const std::array splits = {Bytes(rondo_builtin_train, rondo_builtin_dev),
                             Bytes(rondo_builtin_dev, rondo_builtin_test),
                             Bytes(rondo_builtin_test, rondo_builtin_end)};
  const ByteVocabulary vocabulary = ByteVocabulary::of(splits);
  return {"builtin", texts(splits, vocabulary), vocabulary, true, nullptr};
}

Corpus Corpus::open_folder(const std::string& folder) {
  CorpusManifest manifest = read_manifest(folder);
  const Unit unit = manifest.vocabulary.unit();
  auto files = std::make_shared<std::vector<std::shared_ptr<void>>>();
  Splits splits;
  for (const Split split : kSplits) {
    const std::filesystem::path path = split_path(folder, split, unit);
    TokenText& text = splits[index(split)];
    if (unit == Unit::bytes) {
      auto file = std::make_shared<MappedFile>(path);
      const std::span<const std::byte> bytes = file->bytes();
      text = TokenText({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()},
                       manifest.vocabulary.bytes());
      files->push_back(std::move(file));
    } else {
      auto file = std::make_shared<IdFile>(path, manifest.vocabulary.size());
      text = file->text();
      files->push_back(std::move(file));
    }
    check(text.size() == static_cast<std::int64_t>(manifest.splits[index(split)].tokens),
          "corpus {}: {} has {} {}, but corpus.json says {}; prepare the corpus again", folder,
          path.filename().string(), text.size(), rondo::name(unit),
          manifest.splits[index(split)].tokens);
  }
  std::string sha256 = manifest.splits[index(Split::train)].sha256;
  Corpus corpus(std::move(manifest.name), std::move(splits), std::move(manifest.vocabulary),
                manifest.complete, std::move(files), std::move(sha256));
  for (const Split split : kSplits) {
    corpus.text_bytes_[index(split)] = manifest.splits[index(split)].text_bytes;
  }
  return corpus;
}

}  // namespace rondo
