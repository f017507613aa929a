// Devices, streams, events and copies of the emulated CUDA runtime.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include <cuda_runtime.h>

#include "core/error.h"
#include "tests/cuda_emulation/device_memory.h"
#include "tests/cuda_emulation/environment.h"
#include "tests/cuda_emulation/executor.h"
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

// An H100's.
constexpr std::size_t kSharedBytes = 48 << 10;
constexpr std::size_t kSharedBytesOptin = 227 << 10;
constexpr std::size_t kSharedBytesOfMultiprocessor = 228 << 10;
constexpr unsigned kMostThreads = 1024;
constexpr int kThreadsOfMultiprocessor = 2048;

thread_local int device_of_thread = 0;
thread_local cudaError_t last_error = cudaSuccess;

// What outlives every user of it.
struct Registry {
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
  std::set<void*> pinned;
  std::map<std::pair<const void*, int>, std::size_t> shared_bytes;  // allowed, by kernel, device
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

// Whether CUDA would start the launch.
cudaError_t check_launch(const cudaLaunchConfig_t& config, const void* kernel) {
  const dim3 grid = config.gridDim;
  const dim3 block = config.blockDim;
  if (!known(config.stream) || config.stream->device != device_of_thread) {
    return cudaErrorInvalidResourceHandle;
  }
  if (kernel == nullptr || config.numAttrs != 0) {
    return cudaErrorNotSupported;
  }
  const bool grid_fits = grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.x <= 0x7fffffffU &&
                         grid.y <= 65535 && grid.z <= 65535;
  const bool block_fits = block.x >= 1 && block.y >= 1 && block.z >= 1 && block.x <= kMostThreads &&
                          block.y <= kMostThreads && block.z <= 64 &&
                          block.x * block.y * block.z <= kMostThreads;
  if (!grid_fits || !block_fits) {
    return cudaErrorInvalidConfiguration;
  }
  const auto allowed = registry().shared_bytes.find({kernel, device_of_thread});
  const std::size_t most =
      allowed == registry().shared_bytes.end() ? kSharedBytes : allowed->second;
  return config.dynamicSmemBytes <= most ? cudaSuccess : cudaErrorInvalidValue;
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

bool runs_on(cudaStream_t stream, int device) {
  const std::lock_guard lock(device_mutex());
  return known(stream) && stream->device == device;
}

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
  const DeviceAccess access(device_of_thread);
  execute({config.gridDim, config.blockDim, config.dynamicSmemBytes, thread});
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

// Kernels.

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
  registry().shared_bytes[{kernel, device_of_thread}] = static_cast<std::size_t>(value);
  return cudaSuccess;
}
