// The GPU as plain C++ sees it: devices, streams, events, copies. core/cuda.cpp calls CUDA.
//
// In a build without CUDA nothing here is defined, so every use stands behind
// `if constexpr (kWithCuda)`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "core/device.h"

namespace rondo {

// Whether this build can use GPUs at all; whether this machine has any, cuda::device_count says.
#ifdef RONDO_WITH_CUDA
inline constexpr bool kWithCuda = true;
#else
inline constexpr bool kWithCuda = false;
#endif

namespace cuda {

// The order in which a device works. Not owned; a cudaStream_t that plain C++ can pass on.
struct Stream {
  void* handle = nullptr;
};

// GPUs that this process can use: 0, too, without a driver or with one that is too old.
int device_count();
// Why device_count is 0, for a message; empty if it is not.
std::string unavailable_reason();
// Throws Error, saying what there is, unless GPU `index` can be used.
void require_device(int index);

struct DeviceProperties {
  std::string name;    // "NVIDIA H200"
  int capability = 0;  // 90 for compute capability 9.0
  int multiprocessors = 0;
  std::size_t memory_bytes = 0;
  std::size_t shared_bytes = 0;  // the most dynamic shared memory of a block
};
const DeviceProperties& properties(int index);

struct MemoryInfo {
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
};
MemoryInfo memory_info(int index);

// Makes `device` the one that this thread's launches go to, and returns the stream that all its
// work is ordered on. There is one a device, so a block of memory that was released can be handed
// out again at once: whatever still reads it comes first.
Stream stream(Device device);
// A second stream of the device, for copies beside the computation. What crosses from one to the
// other needs an Event.
Stream copy_stream(Device device);

// Waits for all work that was put on the stream. Throws Error for what failed on the way.
void synchronize(Stream stream);

// Copies any CPU memory to the device, in the order of its stream. The memory has been read when
// the call returns, which waits only when 32 copies, or 8 MiB, are on their way. Not while the
// stream is recorded.
void upload(void* to, const void* from, std::size_t bytes, Device device);
// Copies between the CPU and a device, or within one, in the order of the stream. CPU memory should
// be pinned, and may be read or written at any time before the stream gets past the copy.
void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream);
void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream);
void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream);
// Sets bytes, in the order of the stream.
void set_bytes(void* to, std::uint8_t value, std::size_t bytes, Stream stream);

// CPU memory that copies reach without waiting. Moves, does not copy.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(std::size_t bytes);
  ~PinnedBuffer();
  PinnedBuffer(PinnedBuffer&& other) noexcept;
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// A point in a stream's work. Moves, does not copy.
class Event {
 public:
  explicit Event(Device device, bool timed = false);
  ~Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;

  void record(Stream stream);         // the point is here
  void wait_on(Stream stream) const;  // later work of `stream` waits for the point
  void synchronize() const;           // the CPU waits for it
  bool reached() const;
  // Seconds between the points of two timed events, both reached.
  double seconds_since(const Event& earlier) const;

 private:
  void* handle_ = nullptr;
};

// Work of a stream, recorded so that the CPU can start it with one call.
class Graph {
 public:
  // Calls `work`, which puts its work on `stream` and nothing else; it is recorded, not done.
  // Kernels get the arguments of this time, pointers too, whenever they run again. Whoever waits
  // for the stream meanwhile, or copies memory of the CPU to it, gets an Error.
  Graph(Stream stream, const std::function<void()>& work);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Puts the work on the stream.
  void launch(Stream stream) const;

 private:
  void* handle_ = nullptr;  // cudaGraphExec_t
};

// Raw device memory; null when there is not enough. Only the allocator calls these.
void* allocate(int index, std::size_t bytes);
void release(int index, void* block);

}  // namespace cuda
}  // namespace rondo
