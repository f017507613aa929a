// Devices, streams, events and copies of the emulated CUDA runtime.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>

#include <cuda_runtime.h>

#include "core/error.h"
#include "tests/cuda_emulation/device_memory.h"
#include "tests/cuda_emulation/environment.h"
#include "tests/cuda_emulation/runtime.h"

struct CUstream_st {
  int device;
};

struct CUevent_st {
  int device;
  bool timed;
  bool recorded;
  std::chrono::steady_clock::time_point time;
};

namespace cuda_emulation {
namespace {

thread_local int device_of_thread = 0;
thread_local cudaError_t last_error = cudaSuccess;

// What outlives every user of it.
struct Registry {
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
  std::set<void*> pinned;
};

Registry& registry() {
  static auto* const one = new Registry();
  return *one;
}

bool known(cudaStream_t stream) { return registry().streams.contains(stream); }
bool known(cudaEvent_t event) { return registry().events.contains(event); }

cudaError_t count_devices(int& count) {
  count = 0;
  // A driver runs programs of its own major version and of earlier ones.
  if (setting("RONDO_EMULATION_DRIVER", CUDART_VERSION) / 1000 < CUDART_VERSION / 1000) {
    return cudaErrorInsufficientDriver;
  }
  count = static_cast<int>(setting("RONDO_EMULATION_DEVICES", 1));
  return count == 0 ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t find_current_device() {
  int count = 0;
  return count_devices(count);
}

// Whether a copy of that kind can go between these places.
bool kind_fits(const void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice ||
                         (kind == cudaMemcpyDefault && touches_device(to, bytes));
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice ||
                           (kind == cudaMemcpyDefault && touches_device(from, bytes));
  return kind >= cudaMemcpyHostToHost && kind <= cudaMemcpyDefault &&
         (to_device ? on_device(to, bytes) : !touches_device(to, bytes)) &&
         (from_device ? on_device(from, bytes) : !touches_device(from, bytes));
}

}  // namespace

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) {
    last_error = error;
  }
  return error;
}

int current_device() { return device_of_thread; }

bool runs_on(cudaStream_t stream, int device) { return known(stream) && stream->device == device; }

}  // namespace cuda_emulation

using namespace cuda_emulation;

// Errors.

namespace {

struct ErrorText {
  cudaError_t error;
  const char* name;
  const char* text;
};

constexpr ErrorText kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
};

const ErrorText& find_error(cudaError_t error) {
  for (const ErrorText& known_error : kErrors) {
    if (known_error.error == error) {
      return known_error;
    }
  }
  static constexpr ErrorText kUnknown = {cudaSuccess, "unrecognized error code",
                                         "unrecognized error code"};
  return kUnknown;
}

}  // namespace

const char* cudaGetErrorName(cudaError_t error) { return find_error(error).name; }
const char* cudaGetErrorString(cudaError_t error) { return find_error(error).text; }
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

// Devices.

cudaError_t cudaGetDeviceCount(int* count) { return report(count_devices(*count)); }

cudaError_t cudaDriverGetVersion(int* version) {
  *version = static_cast<int>(setting("RONDO_EMULATION_DRIVER", CUDART_VERSION));
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = device_of_thread;
  return report(find_current_device());
}

cudaError_t cudaSetDevice(int device) {
  int count = 0;
  if (const cudaError_t error = count_devices(count); error != cudaSuccess) {
    return report(error);
  }
  if (device < 0 || device >= count) {
    return report(cudaErrorInvalidDevice);
  }
  device_of_thread = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  int count = 0;
  if (const cudaError_t error = count_devices(count); error != cudaSuccess) {
    return report(error);
  }
  if (device < 0 || device >= count) {
    return report(cudaErrorInvalidDevice);
  }
  *properties = {.name = "emulated CUDA device",
                 .major = 9,
                 .minor = 0,
                 .multiProcessorCount = 132,
                 .totalGlobalMem = total_bytes(),
                 .sharedMemPerBlock = kSharedBytes,
                 .sharedMemPerBlockOptin = kSharedBytesOptin,
                 .sharedMemPerMultiprocessor = kSharedBytesOfMultiprocessor,
                 .maxThreadsPerBlock = kMostThreads,
                 .maxThreadsPerMultiProcessor = kThreadsOfMultiprocessor,
                 .warpSize = 32};
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() { return report(find_current_device()); }

// Streams.

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (const cudaError_t error = find_current_device(); error != cudaSuccess) {
    return report(error);
  }
  if (flags > cudaStreamNonBlocking) {
    return report(cudaErrorInvalidValue);
  }
  const std::lock_guard lock(device_mutex());
  *stream = new CUstream_st{device_of_thread};
  registry().streams.insert(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard lock(device_mutex());
  if (registry().streams.erase(stream) == 0) {
    return report(cudaErrorInvalidResourceHandle);
  }
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const std::lock_guard lock(device_mutex());
  return report(known(stream) ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) { return cudaStreamSynchronize(stream); }

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  const std::lock_guard lock(device_mutex());
  if (!known(stream) || !known(event)) {
    return report(cudaErrorInvalidResourceHandle);
  }
  return report(flags == 0 ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  thread_local cudaStreamCaptureMode mode_of_thread = cudaStreamCaptureModeGlobal;
  std::swap(*mode, mode_of_thread);
  return cudaSuccess;
}

// Events.

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  if (const cudaError_t error = find_current_device(); error != cudaSuccess) {
    return report(error);
  }
  if (flags > (cudaEventBlockingSync | cudaEventDisableTiming)) {
    return report(cudaErrorInvalidValue);
  }
  const std::lock_guard lock(device_mutex());
  *event = new CUevent_st{device_of_thread, (flags & cudaEventDisableTiming) == 0, false, {}};
  registry().events.insert(*event);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::lock_guard lock(device_mutex());
  if (registry().events.erase(event) == 0) {
    return report(cudaErrorInvalidResourceHandle);
  }
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard lock(device_mutex());
  if (!known(event) || !known(stream) || event->device != stream->device) {
    return report(cudaErrorInvalidResourceHandle);
  }
  event->recorded = true;
  event->time = std::chrono::steady_clock::now();
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::lock_guard lock(device_mutex());
  return report(known(event) ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaEventQuery(cudaEvent_t event) { return cudaEventSynchronize(event); }

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const std::lock_guard lock(device_mutex());
  for (const cudaEvent_t event : {start, end}) {
    if (!known(event) || !event->timed || !event->recorded) {
      return report(cudaErrorInvalidResourceHandle);
    }
  }
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}

// Memory.

cudaError_t cudaMalloc(void** block, std::size_t bytes) {
  *block = nullptr;
  if (const cudaError_t error = find_current_device(); error != cudaSuccess) {
    return report(error);
  }
  if (bytes == 0) {
    return cudaSuccess;
  }
  const std::lock_guard lock(device_mutex());
  *block = allocate(device_of_thread, bytes);
  return report(*block == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}

cudaError_t cudaFree(void* block) {
  const std::lock_guard lock(device_mutex());
  return report(block == nullptr || release(block) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMallocHost(void** block, std::size_t bytes) {
  *block = nullptr;
  if (const cudaError_t error = find_current_device(); error != cudaSuccess) {
    return report(error);
  }
  if (bytes == 0) {
    return cudaSuccess;
  }
  const std::lock_guard lock(device_mutex());
  if (::posix_memalign(block, 4096, bytes) != 0) {
    return report(cudaErrorMemoryAllocation);
  }
  registry().pinned.insert(*block);
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* block) {
  const std::lock_guard lock(device_mutex());
  if (block != nullptr && registry().pinned.erase(block) == 0) {
    return report(cudaErrorInvalidValue);
  }
  std::free(block);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  if (const cudaError_t error = find_current_device(); error != cudaSuccess) {
    return report(error);
  }
  const std::lock_guard lock(device_mutex());
  *free = free_bytes(device_of_thread);
  *total = total_bytes();
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const std::lock_guard lock(device_mutex());
  if (!known(stream)) {
    return report(cudaErrorInvalidResourceHandle);
  }
  if (bytes == 0) {
    return cudaSuccess;
  }
  if (to == nullptr || from == nullptr || !kind_fits(to, from, bytes, kind)) {
    return report(cudaErrorInvalidValue);
  }
  const DeviceAccess access({to, from});
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  const std::lock_guard lock(device_mutex());
  if (!known(stream)) {
    return report(cudaErrorInvalidResourceHandle);
  }
  if (bytes == 0) {
    return cudaSuccess;
  }
  if (!on_device(to, bytes)) {
    return report(cudaErrorInvalidValue);
  }
  const DeviceAccess access({to});
  std::memset(to, value, bytes);
  return cudaSuccess;
}
