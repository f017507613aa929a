// Reading and writing files so that a reader never sees half of one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace rondo {

// A whole file mapped into memory, read-only.
class MappedFile {
 public:
  // Throws Error naming the path and the system's reason.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// The whole file as text.
std::string read_file(const std::filesystem::path& path);

// An open file that is only written to; every failure throws Error naming the path, the system's
// reason and what to do about a full disk.
class FileWriter {
 public:
  enum class Mode { truncate, append };
  FileWriter(std::filesystem::path path, Mode mode);
  ~FileWriter();
  FileWriter(FileWriter&& other) noexcept;
  FileWriter& operator=(FileWriter&&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  // Waits until the bytes are on the disk.
  void sync();
  // Closes; later calls of write are errors. The destructor closes too, but cannot report.
  void close();

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

// Writes a temporary file beside `path`, syncs it, and renames it over `path`: afterwards `path`
// holds the old content or all of the new, whatever happens in between.
void write_file_atomically(const std::filesystem::path& path,
                           const std::function<void(FileWriter&)>& write);
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

// A file, or a folder, that is locked for one holder at a time, in this process or another. The
// system unlocks it when the holder ends, however it ends; the file stays.
class FileLock {
 public:
  // Makes the file if it is not there. Returns none if another has the lock; throws Error if the
  // file cannot be made. Where the file system has no locks, everyone has it.
  static std::optional<FileLock> take(const std::filesystem::path& path);
  // The same for a folder that is there, which needs no file in it. Throws Error if it cannot be
  // opened.
  static std::optional<FileLock> take_folder(const std::filesystem::path& path);
  // Whether somebody has it now; false for a file that is not there.
  static bool is_taken(const std::filesystem::path& path);

  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}

  int descriptor_ = -1;
};

// Makes a rename or a new file inside `folder` last.
void sync_folder(const std::filesystem::path& folder);

// Creates `folder` and its parents; throws Error with the reason if that is not possible.
void make_folder(const std::filesystem::path& folder);

// Throws Error unless the disk that holds `folder` has room for `bytes` more bytes.
void require_free_space(const std::filesystem::path& folder, std::uint64_t bytes);

}  // namespace rondo
