#include "data/prepare_pieces.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/parallel.h"
#include "data/line_corpus.h"
#include "data/piece_vocabulary.h"
#include "data/prepared_folder.h"

namespace rondo {
namespace {

PieceVocabulary read_model(const std::filesystem::path& path) {
  try {
    return PieceVocabulary::from_model(read_file(path));
  } catch (const Error& error) {
    fail("cannot use {}: {}", path.string(), error.what());
  }
}

// The ids of all lines, every one closed.
std::vector<std::int32_t> encode(const PieceVocabulary& pieces,
                                 const std::vector<std::string_view>& lines,
                                 const std::function<void(std::uint64_t done)>& progress) {
  constexpr std::size_t kBlock = 8192;  // lines between two calls of `progress`
  std::vector<std::int32_t> ids;
  std::vector<std::vector<std::int32_t>> block;
  std::uint64_t done = 0;
  for (std::size_t start = 0; start < lines.size(); start += kBlock) {
    block.resize(std::min(kBlock, lines.size() - start));
    parallel_for(0, static_cast<std::int64_t>(block.size()), 64,
                 [&](std::int64_t begin, std::int64_t end) {
                   for (auto i = static_cast<std::size_t>(begin); std::cmp_less(i, end); ++i) {
                     block[i] = pieces.encode_line(lines[start + i]);
                   }
                 });
    for (std::size_t i = 0; i < block.size(); ++i) {
      ids.insert(ids.end(), block[i].begin(), block[i].end());
      ids.push_back(pieces.line_end());
      done += lines[start + i].size() + 1;
    }
    progress(done);
  }
  return ids;
}

}  // namespace

PreparedCorpus prepare_pieces(const TextOptions& options, const std::filesystem::path& model) {
  const FileLock lock = lock_output(options.output);
  const PieceVocabulary pieces = read_model(model);
  const LineText text = read_lines(options);
  CorpusManifest manifest{.name = text.corpus.name(),
                          .vocabulary = pieces,
                          .splits = {},
                          .source_bytes = text.corpus.source_bytes()};
  std::array<std::vector<std::int32_t>, 3> ids;
  for (const Split split : kSplits) {
    const SplitLines& lines = text.corpus.split(split);
    const std::string step = fmt::format("encoding {}", name(split));
    ids[index(split)] = encode(pieces, lines.lines, [&](std::uint64_t done) {
      if (options.progress) {
        options.progress(step, done, lines.bytes());
      }
    });
    manifest.splits[index(split)].tokens = ids[index(split)].size();
    manifest.splits[index(split)].text_bytes = lines.bytes();
  }
  PreparedCorpus prepared = write_ids(options.output, std::move(manifest),
                                      [&](Split split, std::string_view, const AddId& add) {
                                        std::ranges::for_each(ids[index(split)], add);
                                      });
  prepared.files = text.files;
  return prepared;
}

}  // namespace rondo
