#include "data/line_corpus.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "core/error.h"
#include "data/utf8.h"
#include "data/word_vocabulary.h"

namespace rondo {

std::uint64_t SplitLines::bytes() const {
  std::uint64_t total = 0;
  for (const std::string_view line : lines) {
    total += line.size() + 1;
  }
  return total;
}

void LineCorpus::add_lines(Split split, const std::string& source, std::string_view text) {
  check(!text.empty(),
        "{} is empty; expected text: give a longer one, or train.txt, dev.txt and test.txt",
        source);
  require_utf8(source, text);
  SplitLines& to = splits_[index(split)];
  for_each_line(text, [&](std::string_view line) { to.lines.push_back(line); });
  to.sources.push_back(source);
  source_bytes_ += text.size();
}

void LineCorpus::add(Split split, const std::string& source, TextSource text) {
  add_lines(split, source, text.text());
  texts_.push_back(std::move(text));  // which leaves its bytes where they are
}

void LineCorpus::add_cut(const std::string& source, TextSource text, std::size_t bytes) {
  const std::string_view all = text.text().substr(0, bytes);
  const std::size_t part = all.size() / 20;
  const std::array ends = {all.size() - 2 * part, all.size() - part, all.size()};
  std::size_t start = 0;
  for (const Split split : kSplits) {
    const std::size_t line_end = all.find('\n', std::max<std::size_t>(ends[index(split)], 1) - 1);
    const std::size_t end = line_end == std::string_view::npos ? all.size() : line_end + 1;
    add_lines(split, fmt::format("{} ({})", source, rondo::name(split)),
              all.substr(start, end - start));
    start = end;
  }
  texts_.push_back(std::move(text));
}

LineText read_lines(const TextOptions& options) {
  LineCorpus empty(options.name.empty() ? corpus_name(options.source) : options.name);
  LineText read{std::make_shared<const UnpackedSource>(options.source, options.output, nullptr,
                                                       on_step(options.progress, "unpacking")),
                std::move(empty)};
  const std::filesystem::path& source_path = read.source->path();
  if (const std::optional<SplitFiles> files = find_split_files(source_path)) {
    for (const Split split : kSplits) {
      const std::filesystem::path& path = (*files)[index(split)];
      read.corpus.add(split, path.string(), TextSource(path));
    }
    return read;
  }
  TextSource source = read_source(source_path, options.bytes);
  read.files = source.files();
  const std::string_view text = source.text();
  std::size_t bytes = text.size();
  if (options.bytes == bytes) {
    // The cut may have parted the bytes of a letter: the rest of it is left out.
    const std::optional<std::size_t> bad = find_invalid_utf8(text);
    bytes = bad && bytes - *bad < 4 ? *bad : bytes;
  }
  read.corpus.add_cut(options.source.string(), std::move(source), bytes);
  return read;
}

void require_utf8(const std::string& source, std::string_view text) {
  if (const std::optional<std::size_t> bad = find_invalid_utf8(text)) {
    fail(
        "{} is not UTF-8: byte 0x{:02x} at position {}, in line {}; a corpus of words or pieces "
        "needs text",
        source, static_cast<unsigned char>(text[*bad]), *bad,
        1 + std::ranges::count(text.substr(0, *bad), '\n'));
  }
}

}  // namespace rondo
