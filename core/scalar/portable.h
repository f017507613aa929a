// Marks functions that the host compiler and the CUDA compiler both build.
#pragma once

#ifdef __CUDACC__
#define RONDO_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define RONDO_HOST_DEVICE inline
#endif
