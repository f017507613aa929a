#include "core/parallel.h"

#include <omp.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>

namespace rondo {
namespace {

void flush_denormals_of_this_thread() {
#if defined(__x86_64__)
  constexpr unsigned kResults = 0x8000;  // of the control register MXCSR: "flush to zero"
  constexpr unsigned kInputs = 0x0040;   // "denormals are zeros"
  _mm_setcsr(_mm_getcsr() | kResults | kInputs);
#elif defined(__aarch64__)
  constexpr std::uint64_t kBoth = std::uint64_t{1} << 24U;  // of the control register FPCR
  std::uint64_t control = 0;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  asm volatile("msr fpcr, %0" : : "r"(control | kBoth));
#endif
}

// What set_num_threads was told; 0 before.
std::atomic<int> wanted_threads{0};

}  // namespace

void set_num_threads(int threads) {
  wanted_threads = threads > 0 ? threads : omp_get_num_procs();
  omp_set_num_threads(wanted_threads);
}

int num_threads() {
  const int wanted = wanted_threads;
  if (wanted != 0 && wanted != omp_get_max_threads()) {
    omp_set_num_threads(wanted);  // OpenMP keeps a number for each thread that asks
  }
  return omp_get_max_threads();
}

void flush_denormals() {
  flush_denormals_of_this_thread();
  // Threads that are there already; those made later begin as the thread that makes them.
#pragma omp parallel
  flush_denormals_of_this_thread();
}

namespace detail {

void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain, RangeBody body,
                  void* context) {
  const std::int64_t count = end - begin;
  if (count <= 0) {
    return;
  }
  const std::int64_t most_pieces =
      std::max<std::int64_t>(1, count / std::max<std::int64_t>(1, grain));
  const std::int64_t pieces =
      omp_in_parallel() != 0 ? 1 : std::min<std::int64_t>(num_threads(), most_pieces);
  if (pieces == 1) {
    body(context, begin, end);
    return;
  }
  std::exception_ptr error;
#pragma omp parallel for num_threads(static_cast <int>(pieces)) schedule(static, 1)
  for (std::int64_t piece = 0; piece < pieces; ++piece) {
    try {
      body(context, begin + count * piece / pieces, begin + count * (piece + 1) / pieces);
    } catch (...) {
#pragma omp critical(rondo_parallel_for_error)
      error = std::current_exception();
    }
  }
  if (error) {
    std::rethrow_exception(error);
  }
}

}  // namespace detail
}  // namespace rondo
