// Where an operation runs: its loop on the CPU, or its kernels on a GPU.
#pragma once

#include "core/cuda.h"
#include "core/tensor.h"

namespace rondo {

// Calls on_cpu() for tensors on the CPU, and on_gpu(stream) for those on a GPU. on_gpu must be a
// generic lambda, `[&](auto stream) { ... }`: a build without CUDA then never sees what it calls.
template <typename OnCpu, typename OnGpu>
void run_on(Device device, OnCpu&& on_cpu, OnGpu&& on_gpu) {
  if (device.is_cuda()) {
    if constexpr (kWithCuda) {
      on_gpu(cuda::stream(device));
    }
  } else {
    on_cpu();
  }
}

// The elements of a tensor on a GPU, or null for one that is not defined.
template <typename T>
const T* device_data_or_null(const Tensor& tensor) {
  return tensor.defined() ? tensor.device_data<T>() : nullptr;
}

}  // namespace rondo
