#include "data/id_file.h"

#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace rondo {
namespace {

static_assert(std::endian::native == std::endian::little, "ids are stored as they are in memory");

constexpr std::string_view kMagic = "rondoids";
constexpr std::uint32_t kVersion = 1;

struct Header {
  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t bytes_per_id;
  std::uint64_t count;
  std::uint64_t vocabulary_size;
};
static_assert(sizeof(Header) == 32);

std::uint32_t bytes_per_id(std::int64_t vocabulary_size) {
  return vocabulary_size <= std::numeric_limits<std::uint16_t>::max() + 1 ? 2 : 4;
}

// Ids on their way to a file, some at a time.
template <typename Id>
class IdWriter {
 public:
  explicit IdWriter(FileWriter& file) : file_(file) { ids_.reserve(kMost); }

  void add(std::int32_t id) {
    ids_.push_back(static_cast<Id>(id));
    if (ids_.size() == kMost) {
      flush();
    }
  }
  void flush() {
    file_.write(std::as_bytes(std::span(ids_)));
    ids_.clear();
  }

 private:
  static constexpr std::size_t kMost = 1 << 16;

  FileWriter& file_;
  std::vector<Id> ids_;
};

}  // namespace

IdFile::IdFile(const std::filesystem::path& path, std::int64_t vocabulary_size) : file_(path) {
  const std::span<const std::byte> bytes = file_.bytes();
  constexpr std::string_view advice = "prepare the corpus again";
  Header header{};
  const std::string name = path.string();
  check(bytes.size() >= sizeof(Header), "{} has {} bytes, less than a header of ids; {}", name,
        bytes.size(), advice);
  std::memcpy(&header, bytes.data(), sizeof(Header));
  check(std::string_view(header.magic.data(), header.magic.size()) == kMagic,
        "{} is not a file of ids: it does not begin with '{}'; {}", name, kMagic, advice);
  check(header.version == kVersion, "{} has version {} of the format; this Rondo reads {}; {}",
        name, header.version, kVersion, advice);
  check(header.vocabulary_size == static_cast<std::uint64_t>(vocabulary_size),
        "{} was made for a vocabulary of {}, the corpus has one of {}; {}", name,
        header.vocabulary_size, vocabulary_size, advice);
  const std::uint32_t width = bytes_per_id(vocabulary_size);
  check(header.bytes_per_id == width, "{} says {} bytes an id; expected {}; {}", name,
        header.bytes_per_id, width, advice);
  const std::uint64_t held = (bytes.size() - sizeof(Header)) / width;
  check(header.count == held && (bytes.size() - sizeof(Header)) % width == 0,
        "{} says that it has {} ids, but its {} bytes hold {}: it was cut short or changed; {}",
        name, header.count, bytes.size(), held, advice);
  const std::byte* const ids = bytes.data() + sizeof(Header);
  const auto count = static_cast<std::size_t>(held);
  if (width == 2) {
    text_ =
        TokenText(std::span(reinterpret_cast<const std::uint16_t*>(ids), count), vocabulary_size);
  } else {
    text_ =
        TokenText(std::span(reinterpret_cast<const std::uint32_t*>(ids), count), vocabulary_size);
  }
}

std::uint64_t id_file_size(std::int64_t count, std::int64_t vocabulary_size) {
  return sizeof(Header) + static_cast<std::uint64_t>(count) * bytes_per_id(vocabulary_size);
}

void write_id_file(const std::filesystem::path& path, std::int64_t count,
                   std::int64_t vocabulary_size,
                   const std::function<void(const std::function<void(std::int32_t)>& add)>& fill) {
  const std::uint32_t width = bytes_per_id(vocabulary_size);
  write_file_atomically(path, [&](FileWriter& file) {
    Header header{{},
                  kVersion,
                  width,
                  static_cast<std::uint64_t>(count),
                  static_cast<std::uint64_t>(vocabulary_size)};
    std::memcpy(header.magic.data(), kMagic.data(), kMagic.size());
    file.write(std::as_bytes(std::span(&header, 1)));
    IdWriter<std::uint16_t> narrow(file);
    IdWriter<std::uint32_t> wide(file);
    std::int64_t added = 0;
    fill([&](std::int32_t id) {
      check(id >= 0 && id < vocabulary_size,
            "[write_id_file] id {} at position {} is out of range for a vocabulary of {}", id,
            added, vocabulary_size);
      width == 2 ? narrow.add(id) : wide.add(id);
      ++added;
    });
    width == 2 ? narrow.flush() : wide.flush();
    check(added == count, "[write_id_file] {} ids were written to {}; expected {}", added,
          path.string(), count);
  });
}

}  // namespace rondo
