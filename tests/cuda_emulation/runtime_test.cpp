// What the emulated CUDA runtime refuses, and the memory errors that the sanitizers see.
#include <cuda_runtime.h>

#include <array>
#include <string>
#include <vector>

#include "core/allocator.h"
#include "core/cuda_launch.cuh"
#include "tests/cuda_emulation/test_buffer.h"
#include "tests/cuda_emulation/test_setting.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

namespace cuda_emulation {
namespace {

using rondo::cuda::Grid;
using rondo::cuda::launch;

__global__ void set_to_one(float* to, int index) { to[index] = 1.0F; }

__global__ void use_shared(float* to, int count) {
  auto* shared = rondo::cuda::dynamic_shared<float>();
  shared[count - 1] = 1.0F;
  to[0] = shared[count - 1];
}

cudaError_t start(dim3 blocks, dim3 threads, std::size_t shared_bytes, cudaStream_t stream,
                  float* to) {
  cudaLaunchConfig_t config = {};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, set_to_one, to, 0);
}

TEST_CASE("Launches beyond CUDA's limits do not start") {
  const Buffer<float> buffer(std::vector<float>{0});
  cudaStream_t stream = rondo::cuda::native(work());
  float* to = buffer.data();
  CHECK(start(1, 1024, 0, stream, to) == cudaSuccess);
  CHECK(start(1, 1025, 0, stream, to) == cudaErrorInvalidConfiguration);
  CHECK(start(1, dim3(32, 33), 0, stream, to) == cudaErrorInvalidConfiguration);
  CHECK(start(1, dim3(1, 1, 65), 0, stream, to) == cudaErrorInvalidConfiguration);
  CHECK(start(1, 0, 0, stream, to) == cudaErrorInvalidConfiguration);
  CHECK(start(0, 1, 0, stream, to) == cudaErrorInvalidConfiguration);
  CHECK(start(dim3(1, 65535), 1, 0, stream, to) == cudaSuccess);
  CHECK(start(dim3(1, 65536), 1, 0, stream, to) == cudaErrorInvalidConfiguration);
  CHECK(start(dim3(1, 1, 65536), 1, 0, stream, to) == cudaErrorInvalidConfiguration);
  CHECK(start(1, 1, 0, nullptr, to) == cudaErrorInvalidResourceHandle);
  CHECK(start(1, 1, 48 << 10, stream, to) == cudaSuccess);
  CHECK(start(1, 1, (48 << 10) + 1, stream, to) == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaSuccess);
}

TEST_CASE("More dynamic shared memory must be asked for, and there is an end to it") {
  const Buffer<float> buffer(std::vector<float>{0});
  const auto run = [&](std::size_t bytes) {
    launch("use", use_shared, Grid{1, 1, bytes}, work(), buffer.data(),
           static_cast<int>(bytes / sizeof(float)));
    return buffer.read()[0];
  };
  CHECK(run(227 << 10) == 1.0F);
  CHECK_THROWS_WITH(run(228 << 10), ContainsSubstring("cudaErrorInvalidValue"));
  CHECK(rondo::cuda::properties(0).shared_bytes == 227 << 10);
}

TEST_CASE("A stream works for its own device only") {
  const Setting devices("RONDO_EMULATION_DEVICES", "2");
  const Buffer<float> buffer(std::vector<float>{0});
  cudaStream_t first = rondo::cuda::native(work());
  cudaStream_t second = nullptr;
  REQUIRE(cudaSetDevice(1) == cudaSuccess);
  REQUIRE(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking) == cudaSuccess);
  CHECK(start(1, 1, 0, first, buffer.data()) == cudaErrorInvalidResourceHandle);
  REQUIRE(cudaSetDevice(0) == cudaSuccess);
  CHECK(start(1, 1, 0, second, buffer.data()) == cudaErrorInvalidResourceHandle);
  CHECK(start(1, 1, 0, first, buffer.data()) == cudaSuccess);
  CHECK(cudaStreamDestroy(second) == cudaSuccess);
  CHECK(cudaStreamSynchronize(second) == cudaErrorInvalidResourceHandle);
  CHECK(cudaSetDevice(2) == cudaErrorInvalidDevice);
}

TEST_CASE("Copies go where their kind says, and not beyond a block") {
  const Buffer<int> device(std::vector<int>{1, 2, 3});
  std::array<int, 4> host{};
  cudaStream_t stream = rondo::cuda::native(work());
  const auto copy = [&](void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    return cudaMemcpyAsync(to, from, bytes, kind, stream);
  };
  CHECK(copy(host.data(), device.data(), 12, cudaMemcpyDeviceToHost) == cudaSuccess);
  CHECK(host == std::array<int, 4>{1, 2, 3, 0});
  CHECK(copy(host.data(), device.data(), 12, cudaMemcpyDefault) == cudaSuccess);
  CHECK(copy(device.data(), device.data() + 1, 4, cudaMemcpyDeviceToDevice) == cudaSuccess);
  CHECK(device.read() == std::vector<int>{2, 2, 3});
  CHECK(copy(host.data(), device.data(), 12, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(copy(host.data(), device.data(), 12, cudaMemcpyHostToHost) == cudaErrorInvalidValue);
  CHECK(copy(device.data(), host.data(), 12, cudaMemcpyDeviceToDevice) == cudaErrorInvalidValue);
  CHECK(copy(device.data(), host.data(), 16, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(copy(host.data(), device.data() + 1, 12, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(cudaMemcpyAsync(host.data(), device.data(), 12, cudaMemcpyDeviceToHost, nullptr) ==
        cudaErrorInvalidResourceHandle);
  CHECK(cudaMemsetAsync(device.data(), 0, 12, stream) == cudaSuccess);
  CHECK(device.read() == std::vector<int>{0, 0, 0});
  CHECK(cudaMemsetAsync(device.data(), 0, 13, stream) == cudaErrorInvalidValue);
  CHECK(cudaMemsetAsync(host.data(), 0, 4, stream) == cudaErrorInvalidValue);
  CHECK(cudaFree(host.data()) == cudaErrorInvalidValue);
}

TEST_CASE("Device memory is new, aligned, and runs out") {
  work();
  const Setting limit("RONDO_EMULATION_MEMORY_MB", "64");  // products may have taken 32 for good
  std::size_t before = 0;
  std::size_t total = 0;
  REQUIRE(cudaMemGetInfo(&before, &total) == cudaSuccess);
  CHECK(total == 64 << 20);
  {
    const Buffer<unsigned> buffer(3);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 256 == 0);
    CHECK(buffer.read() == std::vector<unsigned>(3, 0xffffffffU));
    std::size_t left = 0;
    REQUIRE(cudaMemGetInfo(&left, &total) == cudaSuccess);
    CHECK(left == before - 12);
  }
  void* block = nullptr;
  CHECK(cudaMalloc(&block, before + 1) == cudaErrorMemoryAllocation);
  CHECK(block == nullptr);
  CHECK(cudaMalloc(&block, before) == cudaSuccess);
  CHECK(cudaFree(block) == cudaSuccess);
}

TEST_CASE("There may be no device, and no driver for one") {
  int count = 7;
  int driver = 0;
  {
    const Setting none("RONDO_EMULATION_DEVICES", "0");
    CHECK(cudaGetDeviceCount(&count) == cudaErrorNoDevice);
    CHECK(count == 0);
    void* block = nullptr;
    CHECK(cudaMalloc(&block, 1) == cudaErrorNoDevice);
  }
  for (const char* old : {"12040", "0"}) {
    const Setting version("RONDO_EMULATION_DRIVER", old);
    CHECK(cudaGetDeviceCount(&count) == cudaErrorInsufficientDriver);
    CHECK(cudaDriverGetVersion(&driver) == cudaSuccess);
    CHECK(driver == std::stoi(old));
  }
  CHECK(cudaGetDeviceCount(&count) == cudaSuccess);
  CHECK(count == 1);
  CHECK(std::string(cudaGetErrorName(cudaErrorNoDevice)) == "cudaErrorNoDevice");
  cudaGetLastError();
}

TEST_CASE("Events measure what they were made and recorded for") {
  cudaStream_t stream = rondo::cuda::native(work());
  cudaEvent_t first = nullptr;
  cudaEvent_t second = nullptr;
  cudaEvent_t untimed = nullptr;
  REQUIRE(cudaEventCreateWithFlags(&first, cudaEventDefault) == cudaSuccess);
  REQUIRE(cudaEventCreateWithFlags(&second, cudaEventDefault) == cudaSuccess);
  REQUIRE(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming) == cudaSuccess);
  float milliseconds = -1.0F;
  CHECK(cudaEventRecord(first, stream) == cudaSuccess);
  CHECK(cudaEventElapsedTime(&milliseconds, first, second) == cudaErrorInvalidResourceHandle);
  CHECK(cudaEventRecord(second, stream) == cudaSuccess);
  CHECK(cudaEventElapsedTime(&milliseconds, first, second) == cudaSuccess);
  CHECK(milliseconds >= 0.0F);
  CHECK(cudaEventRecord(untimed, stream) == cudaSuccess);
  CHECK(cudaEventElapsedTime(&milliseconds, first, untimed) == cudaErrorInvalidResourceHandle);
  CHECK(cudaStreamWaitEvent(stream, untimed) == cudaSuccess);
  CHECK(cudaEventQuery(untimed) == cudaSuccess);
  for (const cudaEvent_t event : {first, second, untimed}) {
    CHECK(cudaEventDestroy(event) == cudaSuccess);
    CHECK(cudaEventQuery(event) == cudaErrorInvalidResourceHandle);
  }
}

#ifdef __SANITIZE_ADDRESS__

__global__ void load_vector(const float* from, float* to) {
  *to = reinterpret_cast<const float4*>(from)->w;
}

__global__ void add_one(float* to) { to[0] += 1.0F; }

TEST_CASE("What is recorded is done by each launch of the graph, and not before") {
  using rondo::cuda::Graph;
  const Buffer<float> buffer(std::vector<float>{0, 0});
  const auto add = [&] { launch("add", add_one, Grid{1, 1}, work(), buffer.data()); };
  const Graph graph(work(), [&] {
    add();
    rondo::cuda::copy_on_device(buffer.data() + 1, buffer.data(), sizeof(float), work());
    add();
  });
  CHECK(buffer.read() == std::vector<float>{0, 0});
  graph.launch(work());
  CHECK(buffer.read() == std::vector<float>{2, 1});
  add();
  graph.launch(work());
  CHECK(buffer.read() == std::vector<float>{5, 4});
  rondo::cuda::synchronize(work());
}

TEST_CASE("A recording refuses what cannot be repeated, and the stream works on") {
  using rondo::cuda::Graph;
  const Buffer<float> buffer(std::vector<float>{0});
  const auto add = [&] { launch("add", add_one, Grid{1, 1}, work(), buffer.data()); };
  const auto record = [&](const std::function<void()>& also) {
    return Graph(work(), [&] {
      add();
      also();
    });
  };
  float on_cpu = 0;
  CHECK_THROWS_WITH(record([] { rondo::cuda::synchronize(work()); }),
                    ContainsSubstring("cudaErrorStreamCaptureUnsupported"));
  CHECK_THROWS_WITH(
      record([&] { rondo::cuda::copy_to_host(&on_cpu, buffer.data(), sizeof(float), work()); }),
      ContainsSubstring("cudaErrorStreamCaptureUnsupported"));
  CHECK_THROWS_WITH(record([] { const rondo::cuda::PinnedBuffer memory(1); }),
                    ContainsSubstring("cudaErrorStreamCaptureUnsupported"));
  // An error that is swallowed spoils it all the same.
  CHECK_THROWS_WITH(record([] { cudaStreamSynchronize(rondo::cuda::native(work())); }),
                    ContainsSubstring("cudaErrorStreamCaptureInvalidated"));
  CHECK_THROWS_WITH(record([&] { const Graph inner(work(), add); }),
                    ContainsSubstring("cudaErrorIllegalState"));
  CHECK(buffer.read() == std::vector<float>{0});
  // The allocator may take a new block.
  void* block = nullptr;
  const Graph graph = record([&] { block = rondo::cuda::allocate(0, 1 << 10); });
  CHECK(block != nullptr);
  rondo::cuda::release(0, block);
  graph.launch(work());
  CHECK(buffer.read() == std::vector<float>{1});
}

TEST_CASE("A kernel that is given memory of the CPU, or released memory, does not start") {
  const std::vector<float> host(4);
  const Buffer<float> device(4);
  const float* const released = Buffer<float>(4).data();
  for (const float* wrong : {host.data(), released}) {
    CHECK_THROWS_WITH(launch("load", load_vector, Grid{1, 1}, work(), wrong, device.data()),
                      ContainsSubstring("parameter 0 of a kernel holds ") &&
                          ContainsSubstring("which points to memory of the CPU or to memory of"));
  }
}

rondo::CachingAllocator& allocator() { return rondo::allocator(rondo::Device::cuda(0)); }

// The sanitizers end the program, so each of these runs in one of its own: this one again, which
// finds in the environment which mistake to make.
TEST_CASE("The sanitizers see memory errors of kernels") {
  struct Mistake {
    const char* name;
    const char* message;
    void (*make)();
  };
  const std::array<Mistake, 8> mistakes = {{
      {"write beyond a block", "heap-buffer-overflow",
       [] {
         launch("set", set_to_one, Grid{1, 1}, work(), Buffer<float>(3).data(), 3);
       }},
      {"write before a block", "heap-buffer-overflow",
       [] {
         launch("set", set_to_one, Grid{1, 1}, work(), Buffer<float>(3).data(), -1);
       }},
      {"write beyond shared memory", "heap-buffer-overflow",
       [] {
         launch("use", use_shared, Grid{1, 1, 8}, work(), Buffer<float>(3).data(), 3);
       }},
      {"write beyond what the allocator was asked for", "use-after-poison",
       [] {
         auto* const block = static_cast<float*>(allocator().allocate(3 * sizeof(float)));
         launch("set", set_to_one, Grid{1, 1}, work(), block, 3);
       }},
      {"write to what the allocator took back", "use-after-poison",
       [] {
         void* const block = allocator().allocate(3 * sizeof(float));
         allocator().release(block, 3 * sizeof(float));
         launch("set", set_to_one, Grid{1, 1}, work(), static_cast<float*>(block), 0);
       }},
      {"load a misaligned vector", "misaligned address",
       [] {
         const Buffer<float> buffer(8);
         launch("load", load_vector, Grid{1, 1}, work(), buffer.data() + 1, buffer.data());
       }},
      {"read device memory on the CPU", "use-after-poison",
       [] {
         const Buffer<float> buffer(3);
         volatile float value = buffer.data()[1];
         static_cast<void>(value);
       }},
      {"write to another device", "use-after-poison",
       [] {
         ::setenv("RONDO_EMULATION_DEVICES", "2", 1);
         float* far = nullptr;
         work();
         cudaSetDevice(1);
         cudaMalloc(&far, 4);
         launch("set", set_to_one, Grid{1, 1}, work(), far, 0);
       }},
  }};
  constexpr auto kVariable = "RONDO_MAKE_MISTAKE";
  if (const char* chosen = std::getenv(kVariable)) {
    mistakes.at(static_cast<std::size_t>(std::atoi(chosen))).make();
    return;
  }
  for (std::size_t i = 0; i < mistakes.size(); ++i) {
    CAPTURE(mistakes[i].name);
    const Setting choice(kVariable, std::to_string(i).c_str());
    const rondo::testing::ProcessResult result = rondo::testing::run_process(
        {"/proc/self/exe", "The sanitizers see memory errors of kernels"});
    CHECK(result.exit_code != 0);
    CHECK_THAT(result.err, ContainsSubstring(mistakes[i].message));
  }
}

#endif

}  // namespace
}  // namespace cuda_emulation
