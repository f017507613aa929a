#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace rondo::testing {
namespace {

void require(bool done, const std::string& doing, int code) {
  if (!done) {
    throw std::system_error(code, std::generic_category(), "cannot " + doing);
  }
}

// Appends what `descriptor` has to say; closes it at its end.
void take(int& descriptor, std::string& into) {
  char buffer[4096];
  const ssize_t count = ::read(descriptor, buffer, sizeof(buffer));
  if (count > 0) {
    into.append(buffer, static_cast<std::size_t>(count));
  } else if (count == 0 || errno != EINTR) {
    ::close(descriptor);
    descriptor = -1;
  }
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments) {
  int out[2];
  int err[2];
  require(::pipe2(out, O_CLOEXEC) == 0 && ::pipe2(err, O_CLOEXEC) == 0, "make a pipe", errno);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  ::posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  std::vector<char*> words;
  for (const std::string& argument : arguments) {
    words.push_back(const_cast<char*>(argument.c_str()));
  }
  words.push_back(nullptr);
  const int code = ::posix_spawnp(&id_, words[0], &actions, nullptr, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(out[1]);
  ::close(err[1]);
  out_ = out[0];
  err_ = err[0];
  require(code == 0, "run " + arguments.at(0), code);
}

Process::~Process() {
  if (id_ > 0) {
    ::kill(id_, SIGKILL);
    ::waitpid(id_, nullptr, 0);
  }
  for (const int descriptor : {out_, err_}) {
    if (descriptor >= 0) {
      ::close(descriptor);
    }
  }
}

bool Process::read_more() {
  // A descriptor of -1 is passed over.
  pollfd both[] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
  if (out_ < 0 && err_ < 0) {
    return false;
  }
  if (::poll(both, 2, -1) < 0) {
    require(errno == EINTR, "wait for output", errno);
    return true;
  }
  if (both[0].revents != 0) {
    take(out_, result_.out);
  }
  if (both[1].revents != 0) {
    take(err_, result_.err);
  }
  return true;
}

bool Process::wait_for(std::string_view text) {
  while (result_.out.find(text) == std::string::npos) {
    if (!read_more()) {
      return false;
    }
  }
  return true;
}

void Process::signal(int number) const {
  require(::kill(id_, number) == 0, "send a signal", errno);
}

ProcessResult Process::finish() {
  while (read_more()) {
  }
  int status = 0;
  while (::waitpid(id_, &status, 0) < 0) {
    require(errno == EINTR, "wait for the program", errno);
  }
  id_ = -1;
  result_.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result_;
}

ProcessResult run_process(const std::vector<std::string>& arguments) {
  return Process(arguments).finish();
}

}  // namespace rondo::testing
