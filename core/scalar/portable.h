// Marks functions that the host compiler and the CUDA compiler both build. They are small and stand
// in the innermost loops, so they are always inlined.
#pragma once

#ifdef __CUDACC__
#define RONDO_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define RONDO_HOST_DEVICE inline __attribute__((always_inline))
#endif
