// Making archives for tests.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/testing.h"

namespace rondo::testing {

// Paths and contents; a path that ends in '/' is a folder, one with a content "-> x" a link to x.
using ArchiveFiles = std::vector<std::pair<std::string, std::string>>;

// How an archive is put together: libarchive's codes.
struct ArchiveKind {
  std::string extension;
  int format = ARCHIVE_FORMAT_TAR_USTAR;
  int filter = ARCHIVE_FILTER_NONE;
  std::string options;  // as archive_write_set_options has them
};

inline const ArchiveKind kZip = {".zip", ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE, ""};
inline const ArchiveKind kStoredZip = {".zip", ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE,
                                       "zip:compression=store"};
inline const ArchiveKind kTar = {".tar", ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_NONE, ""};
inline const ArchiveKind kTarGz = {".tar.gz", ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_GZIP, ""};
inline const ArchiveKind kTarBz2 = {".tar.bz2", ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_BZIP2, ""};
inline const ArchiveKind kTarXz = {".tar.xz", ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_XZ, ""};
inline const ArchiveKind kTarZst = {".tar.zst", ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_ZSTD, ""};
// One file without a name.
inline const ArchiveKind kGz = {".gz", ARCHIVE_FORMAT_RAW, ARCHIVE_FILTER_GZIP, ""};
inline const ArchiveKind kXz = {".xz", ARCHIVE_FORMAT_RAW, ARCHIVE_FILTER_XZ, ""};

// Writes an archive of `files` to `path`, and gives it back.
inline std::filesystem::path make_archive(const std::filesystem::path& path,
                                          const ArchiveKind& kind, const ArchiveFiles& files) {
  archive* writer = archive_write_new();
  const auto require_ok = [&](int code) {
    INFO("writing " << path << ": "
                    << (code != ARCHIVE_OK ? archive_error_string(writer) : "no error"));
    REQUIRE(code == ARCHIVE_OK);
  };
  require_ok(archive_write_set_format(writer, kind.format));
  require_ok(archive_write_add_filter(writer, kind.filter));
  if (!kind.options.empty()) {
    require_ok(archive_write_set_options(writer, kind.options.c_str()));
  }
  require_ok(archive_write_open_filename(writer, path.c_str()));
  for (const auto& [name, content] : files) {
    constexpr std::string_view kLink = "-> ";
    const bool is_link = content.starts_with(kLink);
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_filetype(entry, name.ends_with('/') ? AE_IFDIR
                                      : is_link           ? AE_IFLNK
                                                          : AE_IFREG);
    if (is_link) {
      archive_entry_set_symlink(entry, content.substr(kLink.size()).c_str());
    } else {
      archive_entry_set_size(entry, static_cast<la_int64_t>(content.size()));
    }
    require_ok(archive_write_header(writer, entry));
    if (!is_link && !content.empty()) {
      REQUIRE(archive_write_data(writer, content.data(), content.size()) ==
              static_cast<la_ssize_t>(content.size()));
    }
    archive_entry_free(entry);
  }
  require_ok(archive_write_close(writer));
  archive_write_free(writer);
  return path;
}

}  // namespace rondo::testing
