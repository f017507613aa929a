// One trainer at a time in a run's folder.
#pragma once

#include <filesystem>

#include "core/error.h"
#include "core/file.h"

namespace rondo {

// Thrown for a run that another process, or another trainer, has in hand.
class RunIsBusy : public Error {
 public:
  using Error::Error;
};

// Takes the run of `folder`, which must be there, for as long as the lock lives. Throws RunIsBusy.
FileLock lock_run(const std::filesystem::path& folder);

// Throws the RunIsBusy of lock_run, without taking the run.
void require_idle(const std::filesystem::path& folder);

// Whether a trainer has the run of `folder` in hand.
bool is_training(const std::filesystem::path& folder);

}  // namespace rondo
