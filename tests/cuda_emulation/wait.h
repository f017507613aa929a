// What threads of a kernel wait in.
#pragma once

#include <cstdint>
#include <source_location>
#include <string>

#include "tests/cuda_emulation/executor.h"

namespace cuda_emulation {

// What a waiting thread brought to where it waits.
struct Wait {
  Operation operation = Operation::none;
  unsigned mask = 0;    // of a warp operation
  unsigned source = 0;  // the lane whose value an exchange returns
  std::uint64_t value = 0;
  std::source_location where;

  bool in_block() const { return operation <= Operation::syncthreads_count; }
  bool matches(const Wait& other) const {
    return operation == other.operation && mask == other.mask;
  }
};

// Whether both wait in the same call: all threads of a block must.
bool same_barrier(const Wait& a, const Wait& b);

// "__shfl_sync (mask 0x0000ffff) at file:line"
std::string describe_wait(const Wait& wait);

}  // namespace cuda_emulation
