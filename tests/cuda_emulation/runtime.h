// What the emulated runtime tells the emulated libraries on top of it.
#pragma once

#include <cuda_runtime.h>

namespace cuda_emulation {

// Remembers an error for cudaGetLastError, and returns it.
cudaError_t report(cudaError_t error);

// The device of the calling host thread.
int current_device();

// Whether there is such a stream, and it is one of the device.
bool runs_on(cudaStream_t stream, int device);

}  // namespace cuda_emulation
