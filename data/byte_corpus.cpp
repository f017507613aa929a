#include "data/byte_corpus.h"

#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "data/corpus_manifest.h"

// cmake/builtin_corpus.S.in: one split ends where the next begins.
extern "C" {
extern const std::uint8_t rondo_builtin_train[];
extern const std::uint8_t rondo_builtin_dev[];
extern const std::uint8_t rondo_builtin_test[];
extern const std::uint8_t rondo_builtin_end[];
}

namespace rondo {

ByteCorpus::ByteCorpus(std::string name, Splits splits, ByteVocabulary vocabulary, bool complete,
                       std::shared_ptr<const void> owner)
    : name_(std::move(name)),
      splits_(splits),
      vocabulary_(std::move(vocabulary)),
      complete_(complete),
      owner_(std::move(owner)) {}

ByteCorpus ByteCorpus::open(const std::string& name_or_folder) {
  return name_or_folder == "builtin" ? builtin() : open_folder(name_or_folder);
}

ByteCorpus ByteCorpus::from(std::string name, std::string_view train, std::string_view dev,
                            std::string_view test) {
  auto texts = std::make_shared<std::array<std::string, 3>>();
  *texts = {std::string(train), std::string(dev), std::string(test)};
  Splits splits;
  for (std::size_t i = 0; i < splits.size(); ++i) {
    splits[i] = {reinterpret_cast<const std::uint8_t*>((*texts)[i].data()), (*texts)[i].size()};
  }
  return {std::move(name), splits, ByteVocabulary::of(splits), true, std::move(texts)};
}

ByteCorpus ByteCorpus::builtin() {
  const Splits splits = {std::span(rondo_builtin_train, rondo_builtin_dev),
                         std::span(rondo_builtin_dev, rondo_builtin_test),
                         std::span(rondo_builtin_test, rondo_builtin_end)};
  return {"builtin", splits, ByteVocabulary::of(splits), true, nullptr};
}

ByteCorpus ByteCorpus::open_folder(const std::string& folder) {
  CorpusManifest manifest = read_manifest(folder);
  auto files = std::make_shared<std::vector<std::unique_ptr<MappedFile>>>();
  Splits splits;
  for (const Split split : kSplits) {
    files->push_back(std::make_unique<MappedFile>(split_path(folder, split)));
    const std::span<const std::byte> bytes = files->back()->bytes();
    splits[index(split)] = {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
  }
  return {std::move(manifest.name), splits, std::move(manifest.vocabulary), manifest.complete,
          std::move(files)};
}

}  // namespace rondo
