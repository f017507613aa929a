// Run by run, to = from. (cudaMemcpy2DAsync does the same, but bounds its strides, and how fast it
// is for narrow or unaligned runs depends on the driver.)
//
// Reads and writes each byte once, in the largest words of up to 16 bytes that the pointers,
// distances and lengths of all runs allow. A block of 256 threads takes several short runs at once,
// or a part of a long one; neighbouring threads take neighbouring words.
#include "cuda_kernels/copy_runs.h"

#include <bit>

#include "core/cuda_launch.cuh"

namespace rondo::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMaxRowBlocks = 1024;  // enough to fill a device; they stride over the runs

template <int kBytes>
struct alignas(kBytes) Word {
  std::uint8_t bytes[kBytes];
};

// Lengths and distances are counted in words. Block (x, y): words of a run, runs.
template <typename W>
__global__ void copy_runs_kernel(std::int64_t count, std::int64_t words, const W* from,
                                 std::int64_t from_stride, W* to, std::int64_t to_stride) {
  const std::int64_t word = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (word >= words) {
    return;
  }
  const std::int64_t step = std::int64_t{gridDim.y} * blockDim.y;
  for (std::int64_t run = std::int64_t{blockIdx.y} * blockDim.y + threadIdx.y; run < count;
       run += step) {
    to[run * to_stride + word] = from[run * from_stride + word];
  }
}

template <int kBytes>
void launch_words(const CopyRuns& params, Stream stream) {
  using W = Word<kBytes>;
  const std::int64_t words = params.bytes / kBytes;
  const auto columns = static_cast<unsigned>(
      std::bit_ceil(static_cast<std::uint64_t>(std::min<std::int64_t>(words, kThreads))));
  const unsigned rows = kThreads / columns;
  const std::int64_t row_blocks =
      std::min<std::int64_t>((params.count + rows - 1) / rows, kMaxRowBlocks);
  const Grid grid{dim3(static_cast<unsigned>((words + columns - 1) / columns),
                       static_cast<unsigned>(row_blocks)),
                  dim3(columns, rows)};
  launch("copy", copy_runs_kernel<W>, grid, stream, params.count, words,
         static_cast<const W*>(params.from), params.from_stride / kBytes,
         static_cast<W*>(params.to), params.to_stride / kBytes);
}

}  // namespace

void copy_runs(const CopyRuns& params, Stream stream) {
  if (params.count == 0 || params.bytes == 0) {
    return;
  }
  const auto together =
      reinterpret_cast<std::uintptr_t>(params.from) | reinterpret_cast<std::uintptr_t>(params.to) |
      static_cast<std::uintptr_t>(params.bytes | params.from_stride | params.to_stride);
  if (together % 16 == 0) {
    launch_words<16>(params, stream);
  } else if (together % 8 == 0) {
    launch_words<8>(params, stream);
  } else if (together % 4 == 0) {
    launch_words<4>(params, stream);
  } else if (together % 2 == 0) {
    launch_words<2>(params, stream);
  } else {
    launch_words<1>(params, stream);
  }
}

}  // namespace rondo::cuda
