#include "tools/png.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>

#include "core/error.h"

namespace rondo {
namespace {

// A file without a name, gone when it is closed: nothing to deadlock on, as with pipes.
class ScratchFile {
 public:
  ScratchFile() : file_(std::tmpfile(), std::fclose) {
    check(file_ != nullptr, "cannot make a temporary file: {}",
          std::generic_category().message(errno));
  }

  int descriptor() const { return ::fileno(file_.get()); }

  void write(const std::string& text) {
    const bool written = std::fwrite(text.data(), 1, text.size(), file_.get()) == text.size() &&
                         std::fflush(file_.get()) == 0;
    check(written, "cannot write a temporary file: {}", std::generic_category().message(errno));
    std::rewind(file_.get());
  }

  std::string read() {
    std::rewind(file_.get());
    std::string text;
    std::array<char, 65536> buffer;
    while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), file_.get())) {
      text.append(buffer.data(), count);
    }
    return text;
  }

 private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

}  // namespace

std::string png_of(const std::string& svg) {
  ScratchFile in;
  ScratchFile out;
  ScratchFile err;
  in.write(svg);
  std::array<char*, 6> words = {
      const_cast<char*>("rsvg-convert"), const_cast<char*>("--zoom"), const_cast<char*>("2"),
      const_cast<char*>("--format"),     const_cast<char*>("png"),    nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in.descriptor(), 0);
  ::posix_spawn_file_actions_adddup2(&actions, out.descriptor(), 1);
  ::posix_spawn_file_actions_adddup2(&actions, err.descriptor(), 2);
  pid_t id = 0;
  const int code = ::posix_spawnp(&id, words[0], &actions, nullptr, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  check(code == 0,
        "cannot run rsvg-convert, which turns curves into PNG: {}; install it (Debian and Ubuntu: "
        "librsvg2-bin), or give a file that ends in .svg",
        std::generic_category().message(code));
  int status = 0;
  while (::waitpid(id, &status, 0) < 0 && errno == EINTR) {
  }
  check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "rsvg-convert failed: {}", err.read());
  return out.read();
}

}  // namespace rondo
