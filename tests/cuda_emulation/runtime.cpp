// Devices, streams, events and copies of the emulated CUDA runtime.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <cuda_runtime.h>

#include "core/error.h"
#include "tests/cuda_emulation/device_memory.h"
#include "tests/cuda_emulation/environment.h"
#include "tests/cuda_emulation/runtime.h"

struct CUgraph_st {
  int device;
  std::vector<std::function<void()>> work;
};

struct CUgraphExec_st {
  CUgraph_st graph;
};

struct CUstream_st {
  int device;
  CUgraph_st* recording = nullptr;  // owned
  bool spoilt = false;              // what it records can no longer become a graph
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id recorder = {};
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
thread_local cudaStreamCaptureMode mode_of_thread = cudaStreamCaptureModeGlobal;

// What outlives every user of it.
struct Registry {
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
  std::set<void*> pinned;
  std::set<cudaGraph_t> graphs;
  std::set<cudaGraphExec_t> executables;
};

Registry& registry() {
  static auto* const one = new Registry();
  return *one;
}

bool known(cudaStream_t stream) { return registry().streams.contains(stream); }
bool known(cudaEvent_t event) { return registry().events.contains(event); }
bool known(cudaGraph_t graph) { return registry().graphs.contains(graph); }
bool known(cudaGraphExec_t executable) { return registry().executables.contains(executable); }

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

// Memory that a recorded copy may use: a device's, or pinned. Where pinned blocks end is not known
// here; they are looked for by their beginnings.
bool can_be_recorded(const void* address) {
  return touches_device(address, 1) || registry().pinned.contains(const_cast<void*>(address));
}

// Spoils the recordings that a call to allocate or release memory would, and tells.
bool spoils_recordings() {
  bool any = false;
  for (const cudaStream_t stream : registry().streams) {
    const bool forbids = stream->recording != nullptr &&
                         mode_of_thread != cudaStreamCaptureModeRelaxed &&
                         (stream->mode == cudaStreamCaptureModeGlobal ||
                          (stream->mode == cudaStreamCaptureModeThreadLocal &&
                           stream->recorder == std::this_thread::get_id()));
    if (forbids) {
      stream->spoilt = true;
      any = true;
    }
  }
  return any;
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

void put_on(cudaStream_t stream, std::function<void()> work) {
  if (stream->recording != nullptr) {
    stream->recording->work.push_back(std::move(work));
  } else {
    work();
  }
}

bool is_recorded(cudaStream_t stream) { return stream->recording != nullptr; }

cudaError_t spoil_recording(cudaStream_t stream) {
  stream->spoilt = true;
  return report(cudaErrorStreamCaptureUnsupported);
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
    {cudaErrorIllegalState, "cudaErrorIllegalState",
     "the operation cannot be performed in the present state"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
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

cudaError_t cudaDeviceSynchronize() {
  const std::lock_guard lock(device_mutex());
  if (spoils_recordings()) {
    return report(cudaErrorStreamCaptureUnsupported);
  }
  return report(find_current_device());
}

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
  if (!known(stream)) {
    return report(cudaErrorInvalidResourceHandle);
  }
  return is_recorded(stream) ? spoil_recording(stream) : cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) { return cudaStreamSynchronize(stream); }

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  const std::lock_guard lock(device_mutex());
  if (!known(stream) || !known(event)) {
    return report(cudaErrorInvalidResourceHandle);
  }
  if (is_recorded(stream)) {
    return spoil_recording(stream);  // CUDA would, for an event of another stream
  }
  return report(flags == 0 ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, mode_of_thread);
  return cudaSuccess;
}

// Graphs.

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const std::lock_guard lock(device_mutex());
  if (!known(stream)) {
    return report(cudaErrorInvalidResourceHandle);
  }
  if (is_recorded(stream)) {
    return report(cudaErrorIllegalState);
  }
  stream->recording = new CUgraph_st{stream->device, {}};
  stream->spoilt = false;
  stream->mode = mode;
  stream->recorder = std::this_thread::get_id();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::lock_guard lock(device_mutex());
  *graph = nullptr;
  if (!known(stream)) {
    return report(cudaErrorInvalidResourceHandle);
  }
  if (!is_recorded(stream)) {
    return report(cudaErrorIllegalState);
  }
  CUgraph_st* const recorded = std::exchange(stream->recording, nullptr);
  if (std::exchange(stream->spoilt, false)) {
    delete recorded;
    return report(cudaErrorStreamCaptureInvalidated);
  }
  registry().graphs.insert(recorded);
  *graph = recorded;
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const std::lock_guard lock(device_mutex());
  if (!known(stream)) {
    return report(cudaErrorInvalidResourceHandle);
  }
  *status = !is_recorded(stream) ? cudaStreamCaptureStatusNone
            : stream->spoilt     ? cudaStreamCaptureStatusInvalidated
                                 : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long flags) {
  const std::lock_guard lock(device_mutex());
  if (!known(graph) || flags != 0) {
    return report(cudaErrorInvalidValue);
  }
  *executable = new CUgraphExec_st{*graph};
  registry().executables.insert(*executable);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const std::lock_guard lock(device_mutex());
  if (!known(executable)) {
    return report(cudaErrorInvalidValue);
  }
  if (!runs_on(stream, executable->graph.device)) {
    return report(cudaErrorInvalidResourceHandle);
  }
  for (const std::function<void()>& work : executable->graph.work) {
    put_on(stream, work);
  }
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const std::lock_guard lock(device_mutex());
  if (registry().graphs.erase(graph) == 0) {
    return report(cudaErrorInvalidValue);
  }
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  const std::lock_guard lock(device_mutex());
  if (registry().executables.erase(executable) == 0) {
    return report(cudaErrorInvalidValue);
  }
  delete executable;
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
  if (is_recorded(stream)) {
    return spoil_recording(stream);  // a use that the emulation does not know
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
  if (spoils_recordings()) {
    return report(cudaErrorStreamCaptureUnsupported);
  }
  *block = allocate(device_of_thread, bytes);
  return report(*block == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}

cudaError_t cudaFree(void* block) {
  const std::lock_guard lock(device_mutex());
  if (spoils_recordings()) {
    return report(cudaErrorStreamCaptureUnsupported);
  }
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
  if (spoils_recordings()) {
    return report(cudaErrorStreamCaptureUnsupported);
  }
  if (::posix_memalign(block, 4096, bytes) != 0) {
    return report(cudaErrorMemoryAllocation);
  }
  registry().pinned.insert(*block);
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* block) {
  const std::lock_guard lock(device_mutex());
  if (spoils_recordings()) {
    return report(cudaErrorStreamCaptureUnsupported);
  }
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
  if (is_recorded(stream) && !(can_be_recorded(to) && can_be_recorded(from))) {
    return spoil_recording(stream);
  }
  put_on(stream, [=] {
    const DeviceAccess access({to, from});
    std::memcpy(to, from, bytes);
  });
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
  put_on(stream, [=] {
    const DeviceAccess access({to});
    std::memset(to, value, bytes);
  });
  return cudaSuccess;
}
