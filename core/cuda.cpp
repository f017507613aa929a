// Plain C++ on the CUDA runtime; left out of builds without CUDA.
#include "core/cuda.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "core/cuda_call.h"
#include "core/error.h"

namespace rondo::cuda {
namespace {

// What CUDA said when it was first asked for devices.
struct Devices {
  int count = 0;
  std::string reason;
};

Devices find_devices() {
  Devices devices;
  const cudaError_t status = cudaGetDeviceCount(&devices.count);
  if (status == cudaSuccess && devices.count > 0) {
    return devices;
  }
  devices.count = 0;
  int driver = 0;
  cudaDriverGetVersion(&driver);  // 0 without one
  if (driver == 0) {
    devices.reason = "no NVIDIA driver is installed";
  } else if (status == cudaErrorInsufficientDriver) {
    devices.reason = fmt::format(
        "the NVIDIA driver supports CUDA {}.{}, and this build needs {}.{}; install a newer driver",
        driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  } else {
    devices.reason = status == cudaSuccess ? "there is no GPU" : cudaGetErrorString(status);
  }
  cudaGetLastError();  // it has been told; later calls must not report it again
  return devices;
}

const Devices& devices() {
  static const Devices found = find_devices();
  return found;
}

// The streams of one device, made when first asked for and never destroyed: the allocator that
// relies on their order lives as long as the process.
struct DeviceStreams {
  cudaStream_t work = nullptr;
  cudaStream_t copies = nullptr;
};

DeviceStreams& streams(int index) {
  static std::mutex mutex;
  static auto* const all = new std::deque<DeviceStreams>(static_cast<std::size_t>(device_count()));
  const std::lock_guard lock(mutex);
  DeviceStreams& found = all->at(static_cast<std::size_t>(index));
  if (found.work == nullptr) {
    check_call("stream", cudaStreamCreateWithFlags(&found.work, cudaStreamNonBlocking));
    check_call("stream", cudaStreamCreateWithFlags(&found.copies, cudaStreamNonBlocking));
  }
  return found;
}

void make_current(int index) {
  require_device(index);
  check_call("device", cudaSetDevice(index));
}

}  // namespace

void fail_call(std::string_view op, cudaError_t status) {
  cudaGetLastError();  // it has been told; libraries that look for it must not find it
  std::string message = fmt::format("[{}] CUDA reports: {} ({})", op, cudaGetErrorString(status),
                                    cudaGetErrorName(status));
  // Kernels are loaded when they are first launched, which takes memory, too.
  if (status == cudaErrorMemoryAllocation) {
    throw OutOfMemory(message);
  }
  if (status == cudaErrorIllegalAddress || status == cudaErrorMisalignedAddress ||
      status == cudaErrorLaunchFailure) {
    message +=
        "; it may have happened in earlier work: with CUDA_LAUNCH_BLOCKING=1 in the "
        "environment the operation that is named is the one";
  }
  throw Error(message);
}

int device_count() { return devices().count; }

std::string unavailable_reason() { return devices().reason; }

void require_device(int index) {
  const int count = device_count();
  if (index >= 0 && index < count) {  // asked all the time: no message is made
    return;
  }
  check(count > 0, "device cuda:{} was asked for, but {}; use device: cpu", index,
        devices().reason);
  fail("device cuda:{} was asked for, but there {}; use device: cuda:{}", index,
       count == 1 ? "is one GPU, cuda:0"
                  : fmt::format("are {}, cuda:0 to cuda:{}", count, count - 1),
       count - 1);
}

const DeviceProperties& properties(int index) {
  static std::mutex mutex;
  static auto* const all =
      new std::deque<DeviceProperties>(static_cast<std::size_t>(device_count()));
  require_device(index);
  const std::lock_guard lock(mutex);
  DeviceProperties& found = all->at(static_cast<std::size_t>(index));
  if (found.capability == 0) {
    cudaDeviceProp device{};
    check_call("device", cudaGetDeviceProperties(&device, index));
    found = {device.name, device.major * 10 + device.minor, device.multiProcessorCount,
             device.totalGlobalMem, device.sharedMemPerBlockOptin};
  }
  return found;
}

MemoryInfo memory_info(int index) {
  make_current(index);
  MemoryInfo info;
  check_call("memory", cudaMemGetInfo(&info.free_bytes, &info.total_bytes));
  return info;
}

Stream stream(Device device) {
  make_current(device.index);
  return {streams(device.index).work};
}

Stream copy_stream(Device device) {
  make_current(device.index);
  return {streams(device.index).copies};
}

void synchronize(Stream stream) {
  check_call("synchronize", cudaStreamSynchronize(native(stream)));
}

void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  check_call("copy", cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, native(stream)));
}

void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) {
  check_call("copy", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, native(stream)));
}

void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  check_call("copy", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, native(stream)));
}

void set_bytes(void* to, std::uint8_t value, std::size_t bytes, Stream stream) {
  check_call("set", cudaMemsetAsync(to, value, bytes, native(stream)));
}

PinnedBuffer::PinnedBuffer(std::size_t bytes) : bytes_(bytes) {
  check_call("pinned memory", cudaMallocHost(&data_, bytes));
}

PinnedBuffer::~PinnedBuffer() {
  if (data_ != nullptr) {
    cudaFreeHost(data_);
  }
}

PinnedBuffer::PinnedBuffer(PinnedBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

namespace {

cudaEvent_t native_event(void* event) { return static_cast<cudaEvent_t>(event); }

}  // namespace

Event::Event(Device device, bool timed) {
  make_current(device.index);
  cudaEvent_t event = nullptr;
  check_call("event",
             cudaEventCreateWithFlags(&event, timed ? cudaEventDefault : cudaEventDisableTiming));
  handle_ = event;
}

Event::~Event() {
  if (handle_ != nullptr) {
    cudaEventDestroy(native_event(handle_));
  }
}

Event::Event(Event&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}

Event& Event::operator=(Event&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}

void Event::record(Stream stream) {
  check_call("event", cudaEventRecord(native_event(handle_), native(stream)));
}

void Event::wait_on(Stream stream) const {
  check_call("event", cudaStreamWaitEvent(native(stream), native_event(handle_), 0));
}

void Event::synchronize() const {
  check_call("event", cudaEventSynchronize(native_event(handle_)));
}

bool Event::reached() const {
  const cudaError_t status = cudaEventQuery(native_event(handle_));
  if (status == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  check_call("event", status);
  return true;
}

double Event::seconds_since(const Event& earlier) const {
  float milliseconds = 0.0F;
  check_call("event", cudaEventElapsedTime(&milliseconds, native_event(earlier.handle_),
                                           native_event(handle_)));
  return milliseconds * 1e-3;
}

namespace {

cudaGraphExec_t native_graph(void* graph) { return static_cast<cudaGraphExec_t>(graph); }

}  // namespace

Graph::Graph(Stream stream, const std::function<void()>& work) {
  // Other threads may do meanwhile what they like.
  check_call("graph", cudaStreamBeginCapture(native(stream), cudaStreamCaptureModeThreadLocal));
  cudaGraph_t recorded = nullptr;
  try {
    work();
  } catch (...) {
    cudaStreamEndCapture(native(stream), &recorded);  // or the stream would do nothing any more
    if (recorded != nullptr) {
      cudaGraphDestroy(recorded);
    }
    cudaGetLastError();
    throw;
  }
  check_call("graph", cudaStreamEndCapture(native(stream), &recorded));
  cudaGraphExec_t graph = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&graph, recorded, 0);
  cudaGraphDestroy(recorded);
  check_call("graph", status);
  handle_ = graph;
}

Graph::~Graph() { cudaGraphExecDestroy(native_graph(handle_)); }

void Graph::launch(Stream stream) const {
  check_call("graph", cudaGraphLaunch(native_graph(handle_), native(stream)));
}

namespace {

// Pinned memory that copies of other memory go through. CUDA may read that later than it says, or
// wait for all work before; here it is copied piece by piece into places that come free in turn.
class Staging {
 public:
  explicit Staging(Device device) : memory_(kPlaces * kBytes) {
    places_.reserve(kPlaces);
    for (std::size_t i = 0; i < kPlaces; ++i) {
      places_.emplace_back(device);
    }
  }

  void upload(void* to, const void* from, std::size_t bytes, Stream stream) {
    const std::lock_guard lock(mutex_);
    for (std::size_t done = 0; done < bytes; done += kBytes) {
      Event& copied = places_[next_];
      auto* const place = static_cast<std::byte*>(memory_.data()) + next_ * kBytes;
      next_ = (next_ + 1) % kPlaces;
      const std::size_t some = std::min(kBytes, bytes - done);
      copied.synchronize();
      std::memcpy(place, static_cast<const std::byte*>(from) + done, some);
      copy_to_device(static_cast<std::byte*>(to) + done, place, some, stream);
      copied.record(stream);
    }
  }

 private:
  static constexpr std::size_t kBytes = 256 << 10;
  static constexpr std::size_t kPlaces = 32;

  std::mutex mutex_;
  PinnedBuffer memory_;
  std::vector<Event> places_;
  std::size_t next_ = 0;
};

Staging& staging(Device device) {
  static std::mutex mutex;
  static auto* const all = new std::map<int, Staging>();  // as streams, never destroyed
  const std::lock_guard lock(mutex);
  return all->try_emplace(device.index, device).first->second;
}

}  // namespace

void upload(void* to, const void* from, std::size_t bytes, Device device) {
  const Stream work = stream(device);
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check_call("copy", cudaStreamIsCapturing(native(work), &status));
  check(status == cudaStreamCaptureStatusNone,
        "[copy] CPU memory was to be copied to {} in work that is recorded; copy it before",
        device.str());
  staging(device).upload(to, from, bytes, work);
}

void* allocate(int index, std::size_t bytes) {
  make_current(index);
  // A step that is being captured into a graph may still need a new block.
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  check_call("memory", cudaThreadExchangeStreamCaptureMode(&mode));
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, bytes);
  check_call("memory", cudaThreadExchangeStreamCaptureMode(&mode));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check_call("memory", status);
  return block;
}

void release(int index, void* block) {
  make_current(index);
  check_call("memory", cudaDeviceSynchronize());  // cudaFree need not wait for what uses the block
  check_call("memory", cudaFree(block));
}

}  // namespace rondo::cuda
