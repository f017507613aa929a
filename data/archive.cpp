#include "data/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/file.h"

namespace rondo {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kBlock = std::size_t{1} << 16U;
constexpr std::size_t kLargeBlock = std::size_t{1} << 20U;

struct Close {
  void operator()(archive* reader) const { archive_read_free(reader); }
  void operator()(gzFile_s* file) const { gzclose(file); }
};

// Bytes that files of a kind have at a position.
struct Magic {
  std::size_t position;
  std::string_view bytes;

  bool is_in(const MappedFile& file) const {
    const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                                file.bytes().size());
    return text.size() > position && text.substr(position).starts_with(bytes);
  }
};

constexpr Magic kGzip = {0, "\x1f\x8b"sv};
constexpr std::array kMagics = {
    kGzip,
    Magic{0, "PK\3\4"sv},            // ZIP
    Magic{0, "PK\5\6"sv},            // ZIP without entries
    Magic{257, "ustar"sv},           // tar
    Magic{4, "1AY&SY"sv},            // bzip2, after BZh and a digit
    Magic{0, "\xfd\x37zXZ\0"sv},     // xz
    Magic{0, "\x28\xb5\x2f\xfd"sv},  // Zstandard
};

template <typename... Args>
void require(bool condition, fmt::format_string<Args...> message, Args&&... args) {
  if (!condition) {
    throw ArchiveError(fmt::format(message, std::forward<Args>(args)...));
  }
}

// While it lives, this thread's locale has UTF-8: libarchive converts names to that of the locale,
// and loses those of a ZIP that it cannot convert.
class Utf8Names {
 public:
  Utf8Names() : locale_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (locale_ != nullptr) {
      before_ = uselocale(locale_);
    }
  }
  ~Utf8Names() {
    if (locale_ != nullptr) {
      uselocale(before_);
      freelocale(locale_);
    }
  }
  Utf8Names(const Utf8Names&) = delete;
  Utf8Names& operator=(const Utf8Names&) = delete;

 private:
  locale_t locale_;
  locale_t before_ = nullptr;
};

// A pass over the regular files of an archive.
class ArchiveReader {
 public:
  explicit ArchiveReader(std::filesystem::path path)
      : path_(std::move(path)), reader_(archive_read_new()) {
    check(reader_ != nullptr, "cannot read {}: libarchive does not start", path_.string());
    archive* reader = reader_.get();
    archive_read_support_format_tar(reader);
    // The other reader of ZIP does without the list at the end, so it misses that one is cut short.
    archive_read_support_format_zip_seekable(reader);
    archive_read_support_format_raw(reader);
    archive_read_support_filter_bzip2(reader);
    archive_read_support_filter_xz(reader);
    archive_read_support_filter_zstd(reader);
    // Else the end of a tar is not read, which the checksum of what it is packed by comes after.
    archive_read_set_format_option(reader, "tar", "read_concatenated_archives", "1");
    int code = ARCHIVE_OK;
    if (kGzip.is_in(MappedFile(path_))) {
      gzip_.reset(gzopen(path_.c_str(), "rb"));
      check(gzip_ != nullptr, "cannot open {}", path_.string());
      block_.resize(kBlock);
      code = archive_read_open(reader, this, nullptr, &read_gzip, nullptr);
    } else {
      code = archive_read_open_filename(reader, path_.c_str(), kBlock);
    }
    require(code == ARCHIVE_OK,
            "cannot read {} as an archive: it is none, or it is damaged or cut "
            "short ({})",
            path_.string(), reason());
  }

  ArchiveReader(const ArchiveReader&) = delete;  // read_gzip has its address
  ArchiveReader& operator=(const ArchiveReader&) = delete;

  // Goes on to the next regular file, and says its path in the archive; none: the end.
  std::optional<std::string> next() {
    for (;;) {
      archive_entry* entry = nullptr;
      const int code = archive_read_next_header(reader_.get(), &entry);
      if (code == ARCHIVE_EOF) {
        return std::nullopt;
      }
      // A warning is about a name or a date that cannot be represented.
      require(code == ARCHIVE_OK || code == ARCHIVE_WARN, "{} is damaged or cut short{}: {}",
              path_.string(), name_.empty() ? "" : fmt::format(" after its entry \"{}\"", name_),
              reason());
      if (archive_format(reader_.get()) == ARCHIVE_FORMAT_RAW) {
        require(gzip_ != nullptr || archive_filter_code(reader_.get(), 0) != ARCHIVE_FILTER_NONE,
                "cannot read {} as an archive: it is none, or it is damaged or cut short",
                path_.string());
        name_ = path_.stem().string();
        return name_;
      }
      name_ = name_of(entry);
      if (archive_entry_filetype(entry) == AE_IFREG && archive_entry_hardlink(entry) == nullptr) {
        return name_;
      }
    }
  }

  // The next bytes of the file; fewer than there is room for: its end.
  std::size_t read(std::span<std::uint8_t> bytes) {
    const la_ssize_t count = archive_read_data(reader_.get(), bytes.data(), bytes.size());
    require(count >= 0, "entry \"{}\" of {} is damaged or cut short: {}", name_, path_.string(),
            reason());
    return static_cast<std::size_t>(count);
  }

  // Passes over the file. libarchive would not look at one that is packed without a tar, which a
  // tar is taken for whose beginning is damaged.
  void skip() {
    if (archive_format(reader_.get()) == ARCHIVE_FORMAT_RAW) {
      std::vector<std::uint8_t> bytes(kLargeBlock);
      while (read(bytes) == bytes.size()) {
      }
    }
  }

  // The whole file.
  std::vector<std::uint8_t> read_all(std::uint64_t most) {
    std::vector<std::uint8_t> bytes;
    std::size_t size = 0;
    do {
      bytes.resize(size + kLargeBlock);
      size += read(std::span(bytes).subspan(size));
      require(size <= most, "entry \"{}\" of {} is longer than the {} bytes expected", name_,
              path_.string(), most);
    } while (size == bytes.size());
    bytes.resize(size);
    return bytes;
  }

  // How many of the archive's bytes have been read.
  std::uint64_t position() const {
    return static_cast<std::uint64_t>(gzip_ != nullptr ? gzoffset(gzip_.get())
                                                       : archive_filter_bytes(reader_.get(), -1));
  }

 private:
  // libarchive 3.6 and 3.7 unpack gzip themselves, but do not look at its checksum; zlib does.
  static la_ssize_t read_gzip(archive* reader, void* user, const void** data) {
    auto& self = *static_cast<ArchiveReader*>(user);
    const int count = gzread(self.gzip_.get(), self.block_.data(), kBlock);
    int code = Z_OK;
    gzerror(self.gzip_.get(), &code);
    if (code != Z_OK) {
      archive_set_error(reader, EIO, "%s",
                        code == Z_BUF_ERROR ? "the gzip data ends early" : "bad gzip data");
      return ARCHIVE_FATAL;
    }
    *data = self.block_.data();
    return count;
  }

  std::string name_of(archive_entry* entry) const {
    const char* name = archive_entry_pathname_utf8(entry);
    if (name == nullptr) {  // not UTF-8: the bytes as they are
      name = archive_entry_pathname(entry);
    }
    require(name != nullptr, "{} has an entry whose name cannot be read: {}", path_.string(),
            reason());
    return std::filesystem::path(name).lexically_normal().string();
  }

  std::string reason() const {
    const char* const text = archive_error_string(reader_.get());
    return text != nullptr ? text : "no reason given";
  }

  Utf8Names utf8_;
  std::filesystem::path path_;
  std::vector<std::uint8_t> block_;
  std::unique_ptr<gzFile_s, Close> gzip_;
  std::unique_ptr<archive, Close> reader_;
  std::string name_;
};

// The first few entries that a pass met, for a message.
class EntryList {
 public:
  void add(const std::string& name) {
    constexpr std::size_t kMost = 5;
    if (count_++ < kMost) {
      text_ += fmt::format("{}\"{}\"", text_.empty() ? "" : ", ", name);
    } else if (count_ == kMost + 1) {
      text_ += ", ...";
    }
  }
  std::string text() const { return count_ > 0 ? text_ : "no files"; }

 private:
  std::size_t count_ = 0;
  std::string text_;
};

// Where an entry belongs below `folder`.
std::filesystem::path place_below(const std::filesystem::path& folder, const std::string& name,
                                  const std::filesystem::path& archive) {
  const std::filesystem::path path(name);
  require(
      path.is_relative() && path.has_filename() && path != "." && *path.begin() != "..",
      "the entry \"{}\" of {} would lie outside of the folder it is unpacked to: nothing is taken "
      "from such an archive",
      name, archive.string());
  return folder / path;
}

}  // namespace

bool is_archive(const std::filesystem::path& path) {
  const MappedFile file(path);
  return std::ranges::any_of(kMagics, [&](const Magic& magic) { return magic.is_in(file); });
}

std::vector<std::vector<std::uint8_t>> read_archive_entries(const std::filesystem::path& path,
                                                            std::span<const std::string> entries,
                                                            std::uint64_t most) {
  ArchiveReader reader(path);
  std::vector<std::optional<std::vector<std::uint8_t>>> found(entries.size());
  EntryList met;
  // To the end of the archive, where some formats have a checksum.
  while (const std::optional<std::string> name = reader.next()) {
    met.add(*name);
    const auto entry = std::ranges::find(entries, *name);
    if (entry == entries.end()) {
      reader.skip();
      continue;
    }
    found[static_cast<std::size_t>(entry - entries.begin())] = reader.read_all(most);
  }
  std::vector<std::vector<std::uint8_t>> contents;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    require(found[i].has_value(), "{} has no entry \"{}\"; it holds {}", path.string(), entries[i],
            met.text());
    contents.push_back(std::move(*found[i]));
  }
  return contents;
}

void unpack_archive(const std::filesystem::path& path, const std::filesystem::path& folder,
                    const std::function<bool(const std::string& name)>& wanted,
                    const UnpackProgress& progress) {
  ArchiveReader reader(path);
  const std::uint64_t total = std::filesystem::file_size(path);
  std::vector<std::uint8_t> block(kLargeBlock);
  EntryList met;
  bool found = false;
  while (const std::optional<std::string> name = reader.next()) {
    met.add(*name);
    if (wanted && !wanted(*name)) {
      reader.skip();
      continue;
    }
    found = true;
    const std::filesystem::path file = place_below(folder, *name, path);
    make_folder(file.parent_path());
    FileWriter writer(file, FileWriter::Mode::truncate);
    std::size_t size = 0;
    do {
      size = reader.read(block);
      writer.write(std::as_bytes(std::span(block).first(size)));
      if (const std::uint64_t position = reader.position(); progress && position < total) {
        progress(position, total);
      }
    } while (size == block.size());
    writer.close();
  }
  require(found, "{} has none of the files that are wanted; it holds {}", path.string(),
          met.text());
  if (progress) {
    progress(total, total);
  }
}

}  // namespace rondo
