// Loops over threads. The split depends only on the range, the grain and the thread count, so that
// the same settings give the same bits.
#pragma once

#include <cstdint>
#include <type_traits>

namespace rondo {

// Threads that parallel_for and products of matrices use, whichever thread calls them; 0 means one
// per core that this process may run on.
void set_num_threads(int threads);
int num_threads();

// From here on this thread, and those of parallel_for, take numbers too small for their full
// precision (denormals, in f32 below 1.2e-38) as 0, as PyTorch's set_flush_denormal does.
// Processors calculate with such numbers many times slower, and training meets them: gradients that
// hardly reach a weight, and their squares. Does nothing on processors that have no such mode.
void flush_denormals();

namespace detail {
using RangeBody = void (*)(void* context, std::int64_t begin, std::int64_t end);
void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain, RangeBody body,
                  void* context);
}  // namespace detail

// Calls body(b, e) over contiguous, disjoint pieces of [begin, end), one per thread, each of at
// least `grain` items but for the last. Runs inline inside another parallel_for. An exception in
// any piece is thrown again here.
template <typename Body>
void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain, Body&& body) {
  detail::parallel_for(
      begin, end, grain,
      [](void* context, std::int64_t b, std::int64_t e) {
        (*static_cast<std::remove_reference_t<Body>*>(context))(b, e);
      },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace rondo
