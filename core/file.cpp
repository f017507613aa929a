#include "core/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "core/error.h"

namespace rondo {
namespace {

[[noreturn]] void fail_system(std::string_view doing, const std::filesystem::path& path, int code) {
  std::string_view advice;
  if (code == ENOSPC || code == EDQUOT) {
    advice = "; free some space or choose another folder";
  } else if (code == EFBIG) {
    advice = "; raise the limit on the size of files (ulimit -f) or choose another file system";
  } else if (code == EACCES || code == EROFS || code == EPERM) {
    advice = "; choose a folder you may write to or change its permissions";
  } else if (code == ENOTDIR || code == EEXIST) {
    advice = "; a file stands where a folder is wanted: choose another path";
  } else if (code == ENOENT) {
    advice = "; check the path";
  }
  fail("{} {}: {}{}", doing, path.string(), std::generic_category().message(code), advice);
}

// What a lock is asked for: all of the file, to write.
struct flock whole_file() {
  struct flock lock {};  // from the first byte to whatever end
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    fail_system("cannot open", path, errno);
  }
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    fail("cannot read {}: it is not a regular file", path.string());
  }
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ > 0) {
    void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    const int code = errno;
    ::close(descriptor);
    if (mapped == MAP_FAILED) {
      fail_system("cannot map", path, code);
    }
    data_ = static_cast<const std::byte*>(mapped);
  } else {
    ::close(descriptor);
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    ::munmap(const_cast<std::byte*>(data_), size_);
  }
}

std::string read_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

FileWriter::FileWriter(std::filesystem::path path, Mode mode) : path_(std::move(path)) {
  const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (mode == Mode::append ? O_APPEND : O_TRUNC);
  descriptor_ = ::open(path_.c_str(), flags, 0666);
  if (descriptor_ < 0) {
    fail_system("cannot write", path_, errno);
  }
}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

FileWriter::FileWriter(FileWriter&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

void FileWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      fail_system("cannot write", path_, errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void FileWriter::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void FileWriter::sync() {
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS) {
    fail_system("cannot write", path_, errno);
  }
}

void FileWriter::close() {
  const int descriptor = std::exchange(descriptor_, -1);
  if (descriptor >= 0 && ::close(descriptor) != 0) {
    fail_system("cannot write", path_, errno);
  }
}

void write_file_atomically(const std::filesystem::path& path,
                           const std::function<void(FileWriter&)>& write) {
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  try {
    FileWriter writer(temporary, FileWriter::Mode::truncate);
    write(writer);
    writer.sync();
    writer.close();
    if (std::rename(temporary.c_str(), path.c_str()) != 0) {
      fail_system("cannot rename to", path, errno);
    }
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_folder(path.parent_path());
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  write_file_atomically(path, [text](FileWriter& writer) { writer.write(text); });
}

std::optional<FileLock> FileLock::take(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) {
    fail_system("cannot open", path, errno);
  }
  FileLock lock(descriptor);
  struct flock whole = whole_file();
  if (::fcntl(descriptor, F_OFD_SETLK, &whole) != 0 && (errno == EAGAIN || errno == EACCES)) {
    return std::nullopt;
  }
  return lock;
}

std::optional<FileLock> FileLock::take_folder(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) {
    fail_system("cannot open folder", path, errno);
  }
  FileLock lock(descriptor);
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    return std::nullopt;
  }
  return lock;
}

bool FileLock::is_taken(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    return false;
  }
  const FileLock closes(descriptor);
  struct flock whole = whole_file();
  return ::fcntl(descriptor, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

void sync_folder(const std::filesystem::path& folder) {
  const std::filesystem::path named = folder.empty() ? std::filesystem::path(".") : folder;
  const int descriptor = ::open(named.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) {
    fail_system("cannot open folder", named, errno);
  }
  ::fsync(descriptor);  // some file systems refuse to sync folders; the rename itself is done
  ::close(descriptor);
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (code) {
    fail_system("cannot create folder", folder, code.value());
  }
}

void require_free_space(const std::filesystem::path& folder, std::uint64_t bytes) {
  std::error_code code;
  const std::filesystem::space_info space = std::filesystem::space(folder, code);
  if (code) {
    fail_system("cannot use folder", folder, code.value());
  }
  check(space.available >= bytes,
        "cannot write {} bytes into {}: its disk has {} bytes left; free some space or choose "
        "another folder",
        bytes, folder.string(), space.available);
}

}  // namespace rondo
