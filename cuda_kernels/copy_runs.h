// Copies between slices of tensors within a GPU.
#pragma once

#include <cstdint>

#include "core/cuda.h"

namespace rondo::cuda {

// Runs of bytes that lie at equal distances; a distance may be 0 only where there is one run.
struct CopyRuns {
  std::int64_t count = 0;  // of runs; 0 will do
  std::int64_t bytes = 0;  // of a run; 0 will do
  const void* from = nullptr;
  std::int64_t from_stride = 0;  // bytes from the beginning of one run to that of the next
  void* to = nullptr;            // =; overlaps no run of `from`
  std::int64_t to_stride = 0;
};

void copy_runs(const CopyRuns& params, Stream stream);

}  // namespace rondo::cuda
