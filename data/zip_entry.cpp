#include "data/zip_entry.h"

#include <zip.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "core/error.h"
#include "core/file.h"

namespace rondo {
namespace {

struct Discard {
  void operator()(zip_t* archive) const { zip_discard(archive); }
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};

std::unique_ptr<zip_t, Discard> open_archive(const std::filesystem::path& path) {
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (archive == nullptr) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    fail("cannot read {} as a ZIP archive: {}", path.string(), reason);
  }
  return std::unique_ptr<zip_t, Discard>(archive);
}

// The first few entries, for a message.
std::string list_entries(zip_t* archive) {
  constexpr zip_int64_t kMost = 5;
  const zip_int64_t count = zip_get_num_entries(archive, 0);
  std::string list;
  for (zip_int64_t i = 0; i < std::min(count, kMost); ++i) {
    const char* entry = zip_get_name(archive, static_cast<zip_uint64_t>(i), 0);
    list += fmt::format("{}\"{}\"", i > 0 ? ", " : "", entry != nullptr ? entry : "?");
  }
  return count == 0 ? "nothing" : list + (count > kMost ? ", ..." : "");
}

}  // namespace

bool is_zip(const std::filesystem::path& path) {
  constexpr std::array<std::byte, 4> kMagic = {std::byte{'P'}, std::byte{'K'}, std::byte{3},
                                               std::byte{4}};
  const MappedFile file(path);
  const std::span<const std::byte> bytes = file.bytes();
  return bytes.size() >= kMagic.size() && std::equal(kMagic.begin(), kMagic.end(), bytes.begin());
}

std::vector<std::uint8_t> read_zip_entry(const std::filesystem::path& path,
                                         const std::string& entry, std::uint64_t most) {
  const auto archive = open_archive(path);
  zip_stat_t status;
  check(zip_stat(archive.get(), entry.c_str(), 0, &status) == 0 &&
            (status.valid & ZIP_STAT_SIZE) != 0,
        "{} has no entry \"{}\"; it holds {}", path.string(), entry, list_entries(archive.get()));
  check(status.size <= most, "entry \"{}\" of {} is {} bytes long; expected at most {}", entry,
        path.string(), status.size, most);
  const std::unique_ptr<zip_file_t, Discard> file(zip_fopen_index(archive.get(), status.index, 0));
  check(file != nullptr, "cannot read entry \"{}\" of {}: {}", entry, path.string(),
        zip_strerror(archive.get()));
  std::vector<std::uint8_t> bytes(status.size);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const zip_int64_t count = zip_fread(file.get(), bytes.data() + done, bytes.size() - done);
    check(count > 0, "entry \"{}\" of {} is damaged: {}", entry, path.string(),
          count < 0 ? zip_file_strerror(file.get()) : "it ends early");
    done += static_cast<std::size_t>(count);
  }
  // libzip compares the checksum when it meets the end.
  std::uint8_t beyond = 0;
  check(zip_fread(file.get(), &beyond, 1) == 0, "entry \"{}\" of {} is damaged: {}", entry,
        path.string(), zip_file_strerror(file.get()));
  return bytes;
}

}  // namespace rondo
