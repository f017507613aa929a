// Runs a kernel: its blocks in turn, the threads of a block as fibers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <source_location>

#include "tests/cuda_emulation/vector_types.h"

namespace cuda_emulation {

// In which order threads (and blocks) run, wherever CUDA leaves it open. Every order is one that a
// GPU may take, so a kernel that is right gives the same bits under each.
enum class Order : std::uint8_t {
  forward,   // the lowest first; whoever was released from a barrier comes after all others
  reverse,   // the highest first; whoever was released from a barrier comes first
  shuffled,  // drawn anew at every step
};

// Fixes the order of all launches that follow. Without one, and without RONDO_EMULATION_ORDER in
// the environment, launches take the three in turn.
void set_order(std::optional<Order> order);

// How many threads, and what each does.
struct Execution {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;
  const std::function<void()>& thread;
};

// Throws rondo::Error when the kernel is broken: when threads wait for others that never come.
void execute(const Execution& execution);

// What follows is called by threads of a kernel (intrinsics.h).

// What a thread can wait in.
enum class Operation : std::uint8_t {
  none,
  syncthreads,
  syncthreads_or,
  syncthreads_and,
  syncthreads_count,
  syncwarp,
  shfl,
  shfl_up,
  shfl_down,
  shfl_xor,
  ballot,
  any,
  all,
};

// Exactly the bytes that the launch asked for; null for none.
void* dynamic_shared();

// The number of the calling thread in its warp.
unsigned lane();

// Waits for all threads of the block. Returns how many of them brought a predicate that holds.
int wait_for_block(Operation operation, bool predicate, const std::source_location& where);

// Waits for the lanes in `mask`. Returns the value that lane `source` brought; all bits set if that
// lane is not in the mask, for which CUDA promises nothing.
std::uint64_t exchange_in_warp(Operation operation, unsigned mask, std::uint64_t value,
                               unsigned source, const std::source_location& where);
// Waits for the lanes in `mask`. Returns those whose predicate holds.
unsigned vote_in_warp(Operation operation, unsigned mask, bool predicate,
                      const std::source_location& where);

// Where the calling thread is; CUDA's threadIdx and so on refer to them.
extern uint3 thread_index;
extern uint3 block_index;
extern dim3 block_size;
extern dim3 grid_size;

}  // namespace cuda_emulation
