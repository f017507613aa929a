// What the emulated runtime tells the emulated libraries on top of it.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <functional>

namespace cuda_emulation {

// An H100's.
inline constexpr std::size_t kSharedBytes = 48 << 10;
inline constexpr std::size_t kSharedBytesOptin = 227 << 10;
inline constexpr std::size_t kSharedBytesOfMultiprocessor = 228 << 10;
inline constexpr unsigned kMostThreads = 1024;
inline constexpr int kThreadsOfMultiprocessor = 2048;

// Remembers an error for cudaGetLastError, and returns it.
cudaError_t report(cudaError_t error);

// The device of the calling host thread.
int current_device();

// Whether there is such a stream, and it is one of the device. The caller holds the mutex.
bool runs_on(cudaStream_t stream, int device);

// Does `work` of the stream, or, while the stream is recorded, keeps it for the graph. The caller
// holds the mutex, now and whenever the graph is launched.
void put_on(cudaStream_t stream, std::function<void()> work);
// Whether the stream is recorded.
bool is_recorded(cudaStream_t stream);
// What a call that cannot be recorded gives: the recording is spoilt.
cudaError_t spoil_recording(cudaStream_t stream);

}  // namespace cuda_emulation
