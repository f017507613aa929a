#include "trainers/run_lock.h"

#include <utility>

namespace rondo {
namespace {

std::filesystem::path lock_path(const std::filesystem::path& folder) { return folder / ".lock"; }

[[noreturn]] void fail_busy(const std::filesystem::path& folder) {
  throw RunIsBusy(fmt::format(
      "{} is being trained by another process, or by another LmTrainer of this one; wait until "
      "that has ended or stop it, or choose another folder with --set run.folder=...",
      folder.string()));
}

}  // namespace

FileLock lock_run(const std::filesystem::path& folder) {
  std::optional<FileLock> lock = FileLock::take(lock_path(folder));
  if (!lock) {
    fail_busy(folder);
  }
  return std::move(*lock);
}

void require_idle(const std::filesystem::path& folder) {
  if (is_training(folder)) {
    fail_busy(folder);
  }
}

bool is_training(const std::filesystem::path& folder) {
  return FileLock::is_taken(lock_path(folder));
}

}  // namespace rondo
