// Checks launches as CUDA does, and runs them.
#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include <cuda_runtime.h>

#include "core/error.h"
#include "tests/cuda_emulation/device_memory.h"
#include "tests/cuda_emulation/executor.h"
#include "tests/cuda_emulation/runtime.h"

namespace cuda_emulation {
namespace {

// Dynamic shared memory that was asked for, by kernel and device.
std::map<std::pair<const void*, int>, std::size_t>& allowed_shared_bytes() {
  static auto* const all = new std::map<std::pair<const void*, int>, std::size_t>();
  return *all;
}

// Whether CUDA would start the launch.
cudaError_t check_launch(const cudaLaunchConfig_t& config, const void* kernel) {
  const dim3 grid = config.gridDim;
  const dim3 block = config.blockDim;
  if (!runs_on(config.stream, current_device())) {
    return cudaErrorInvalidResourceHandle;
  }
  if (kernel == nullptr) {
    return cudaErrorNotSupported;
  }
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    if (config.attrs[i].id != cudaLaunchAttributePreferredSharedMemoryCarveout ||
        config.attrs[i].val.sharedMemCarveout > 100) {
      return cudaErrorNotSupported;
    }
  }
  const bool grid_fits = grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.x <= 0x7fffffffU &&
                         grid.y <= 65535 && grid.z <= 65535;
  const bool block_fits = block.x >= 1 && block.y >= 1 && block.z >= 1 && block.x <= kMostThreads &&
                          block.y <= kMostThreads && block.z <= 64 &&
                          block.x * block.y * block.z <= kMostThreads;
  if (!grid_fits || !block_fits) {
    return cudaErrorInvalidConfiguration;
  }
  const auto allowed = allowed_shared_bytes().find({kernel, current_device()});
  const std::size_t most = allowed == allowed_shared_bytes().end() ? kSharedBytes : allowed->second;
  return config.dynamicSmemBytes <= most ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel,
                   const std::function<void()>& thread, std::initializer_list<Bytes> parameters) {
  const std::lock_guard lock(device_mutex());
  if (const cudaError_t error = check_launch(config, kernel); error != cudaSuccess) {
    return report(error);
  }
  int number = 0;
  for (const Bytes& parameter : parameters) {
    const void* pointer = find_host_pointer(parameter);
    rondo::check(
        pointer == nullptr,
        "parameter {} of a kernel holds {}, which points to memory of the CPU or to memory of "
        "a device that was released",
        number, pointer);
    ++number;
  }
  put_on(config.stream, [config, thread, device = current_device()] {
    const DeviceAccess access(device);
    execute({config.gridDim, config.blockDim, config.dynamicSmemBytes, thread});
  });
  return cudaSuccess;
}

cudaError_t blocks_per_multiprocessor(int* blocks, int threads, std::size_t shared_bytes) {
  if (threads < 1 || threads > static_cast<int>(kMostThreads)) {
    return report(cudaErrorInvalidValue);
  }
  const int warps_threads = (threads + 31) / 32 * 32;
  // CUDA itself takes one KiB of every block's shared memory.
  const auto by_shared = static_cast<int>(kSharedBytesOfMultiprocessor / (shared_bytes + 1024));
  *blocks = std::min({32, kThreadsOfMultiprocessor / warps_threads, by_shared});
  return cudaSuccess;
}

}  // namespace cuda_emulation

using namespace cuda_emulation;

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) {
    return attribute == cudaFuncAttributePreferredSharedMemoryCarveout
               ? cudaSuccess
               : report(cudaErrorInvalidValue);
  }
  if (value < 0 || value > static_cast<int>(kSharedBytesOptin)) {
    return report(cudaErrorInvalidValue);
  }
  const std::lock_guard lock(device_mutex());
  allowed_shared_bytes()[{kernel, current_device()}] = static_cast<std::size_t>(value);
  return cudaSuccess;
}
