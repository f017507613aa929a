// Kernels that show what the emulation of the execution model does, and broken ones that it must
// not let pass.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/cuda_launch.cuh"
#include "tests/cuda_emulation/test_buffer.h"
#include "tests/support/catch.h"

namespace cuda_emulation {
namespace {

using rondo::cuda::Grid;
using rondo::cuda::grid_over;
using rondo::cuda::launch;

__global__ void write_places(uint3* threads, uint3* blocks, int* turns, int* turn) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned i = block * blockDim.x * blockDim.y * blockDim.z + thread;
  threads[i] = threadIdx;
  blocks[i] = blockIdx;
  turns[i] = atomicAdd(turn, 1);
}

TEST_CASE("Every thread of every block runs once, in an order that can be fixed") {
  const dim3 blocks(3, 2, 2);
  const dim3 threads(4, 3, 5);
  constexpr unsigned kThreads = 3 * 2 * 2 * 4 * 3 * 5;
  std::set<std::vector<int>> orders;
  for (const Order order : kOrders) {
    const FixedOrder fixed(order);
    Buffer<uint3> thread_places(kThreads);
    Buffer<uint3> block_places(kThreads);
    Buffer<int> turns(kThreads);
    Buffer<int> turn(std::vector<int>{0});
    launch("write", write_places, Grid{blocks, threads}, work(), thread_places.data(),
           block_places.data(), turns.data(), turn.data());
    const std::vector<uint3> thread = thread_places.read();
    const std::vector<uint3> block = block_places.read();
    for (unsigned i = 0; i < kThreads; ++i) {
      REQUIRE((thread[i].z * 3 + thread[i].y) * 4 + thread[i].x == i % 60);
      REQUIRE((block[i].z * 2 + block[i].y) * 3 + block[i].x == i / 60);
    }
    std::vector<int> taken = turns.read();
    orders.insert(taken);
    std::sort(taken.begin(), taken.end());
    std::vector<int> all(kThreads);
    std::iota(all.begin(), all.end(), 0);
    CHECK(taken == all);
  }
  CHECK(orders.size() == 3);
}

__global__ void write_turns(int* turns, int* turn) { turns[threadIdx.x] = atomicAdd(turn, 1); }

TEST_CASE("Left alone, launches take the three orders in turn, and the environment fixes one") {
  const auto run = [] {
    Buffer<int> turns(64);
    Buffer<int> turn(std::vector<int>{0});
    launch("write", write_turns, Grid{1, 64}, work(), turns.data(), turn.data());
    return turns.read();
  };
  CHECK(std::set<std::vector<int>>{run(), run(), run()}.size() == 3);
  ::setenv("RONDO_EMULATION_ORDER", "reverse", 1);
  for (int i = 0; i < 3; ++i) {
    CHECK(run().front() == 63);
  }
  ::setenv("RONDO_EMULATION_ORDER", "sideways", 1);
  CHECK_THROWS_WITH(run(), ContainsSubstring("RONDO_EMULATION_ORDER is sideways; expected"));
  ::unsetenv("RONDO_EMULATION_ORDER");
}

struct Sizes {
  int count;
  float factor;
};

__global__ void count_down(Sizes sizes, float* results) {
  while (sizes.count > 0) {  // its own copy
    --sizes.count;
    results[threadIdx.x] = sizes.factor * static_cast<float>(sizes.count);
    __syncthreads();
  }
  results[threadIdx.x] += sizes.factor;
}

TEST_CASE("Each thread has its own copy of the parameters") {
  Buffer<float> results(40);
  launch("count", count_down, Grid{1, 40}, work(), Sizes{3, 0.5F}, results.data());
  CHECK(results.read() == std::vector<float>(40, 0.5F));
}

// The sum of the threads' numbers, by halves; a barrier is missing unless `waits`.
template <bool waits>
__global__ void sum_by_halves(const float* values, float* sums) {
  auto* parts = rondo::cuda::dynamic_shared<float>();
  parts[threadIdx.x] = values[blockIdx.x * blockDim.x + threadIdx.x];
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) {
      parts[threadIdx.x] += parts[threadIdx.x + half];
    }
    if constexpr (waits) {
      __syncthreads();
    }
  }
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = parts[0];
  }
}

TEST_CASE("A reduction gives the same under every order, and without its barrier does not") {
  std::vector<float> values(4 * 256);
  std::iota(values.begin(), values.end(), 1.0F);
  const Buffer<float> input(values);
  std::set<std::vector<float>> right;
  std::set<std::vector<float>> wrong;
  for (const Order order : kOrders) {
    const FixedOrder fixed(order);
    Buffer<float> sums(4);
    launch("sum", sum_by_halves<true>, Grid{4, 256, 1024}, work(), input.data(), sums.data());
    right.insert(sums.read());
    launch("sum", sum_by_halves<false>, Grid{4, 256, 1024}, work(), input.data(), sums.data());
    wrong.insert(sums.read());
  }
  CHECK(right == std::set<std::vector<float>>{{32896, 98432, 163968, 229504}});
  CHECK(wrong.size() > 1);
}

__global__ void vote_in_blocks(int most, int* results) {
  const int holds = static_cast<int>(threadIdx.x) < most ? 1 : 0;
  const int any = __syncthreads_or(holds);
  const int all = __syncthreads_and(holds);
  const int count = __syncthreads_count(holds);
  results[threadIdx.x] = any * 10000 + all * 1000 + count;
}

TEST_CASE("Barriers of a block count predicates") {
  for (const Order order : kOrders) {
    const FixedOrder fixed(order);
    Buffer<int> results(100);
    launch("vote", vote_in_blocks, Grid{1, 100}, work(), 0, results.data());
    CHECK(results.read() == std::vector<int>(100, 0));
    launch("vote", vote_in_blocks, Grid{1, 100}, work(), 37, results.data());
    CHECK(results.read() == std::vector<int>(100, 10037));
    launch("vote", vote_in_blocks, Grid{1, 100}, work(), 100, results.data());
    CHECK(results.read() == std::vector<int>(100, 11100));
  }
}

enum class Shuffle { index, up, down, bits };

__global__ void shuffle(Shuffle kind, int argument, int width, double* results) {
  const double own = threadIdx.x;
  double other = -1.0;
  switch (kind) {
    case Shuffle::index:
      other = __shfl_sync(0xffffffffU, own, argument, width);
      break;
    case Shuffle::up:
      other = __shfl_up_sync(0xffffffffU, own, static_cast<unsigned>(argument), width);
      break;
    case Shuffle::down:
      other = __shfl_down_sync(0xffffffffU, own, static_cast<unsigned>(argument), width);
      break;
    case Shuffle::bits:
      other = __shfl_xor_sync(0xffffffffU, own, argument, width);
      break;
  }
  results[threadIdx.x] = other;
}

// The lane that CUDA's guide says `lane` reads.
int shuffle_source(Shuffle kind, int lane, int argument, int width) {
  const int first = lane / width * width;
  switch (kind) {
    case Shuffle::index:
      return first + argument % width;
    case Shuffle::up:
      return lane - argument < first ? lane : lane - argument;
    case Shuffle::down:
      return lane + argument >= first + width ? lane : lane + argument;
    default:
      return (lane ^ argument) >= first + width ? lane : lane ^ argument;
  }
}

TEST_CASE("Shuffles read the lanes that CUDA says") {
  for (const Shuffle kind : {Shuffle::index, Shuffle::up, Shuffle::down, Shuffle::bits}) {
    for (const int argument : {0, 1, 3, 16, 31}) {
      for (const int width : {1, 4, 16, 32}) {
        Buffer<double> results(64);
        launch("shuffle", shuffle, Grid{1, 64}, work(), kind, argument, width, results.data());
        const std::vector<double> found = results.read();
        for (int i = 0; i < 64; ++i) {
          CAPTURE(static_cast<int>(kind), argument, width, i);
          REQUIRE(found[static_cast<std::size_t>(i)] ==
                  i / 32 * 32 + shuffle_source(kind, i % 32, argument, width));
        }
      }
    }
  }
}

__global__ void use_masks(float* sums, unsigned* ballots, int* votes) {
  const unsigned mask = threadIdx.x < 8 ? 0xffU : 0xffffff00U;
  auto value = static_cast<float>(threadIdx.x);
  if (threadIdx.x < 8) {  // the other lanes do not come
    for (int i = 4; i > 0; i /= 2) {
      value += __shfl_xor_sync(mask, value, i);
    }
  }
  sums[threadIdx.x] = value;
  const int odd = static_cast<int>(threadIdx.x % 2);
  ballots[threadIdx.x] = __ballot_sync(mask, odd);
  __syncwarp();
  votes[threadIdx.x] = __any_sync(mask, threadIdx.x == 9) * 10 + __all_sync(mask, threadIdx.x >= 8);
}

TEST_CASE("Parts of a warp work on their own") {
  for (const Order order : kOrders) {
    const FixedOrder fixed(order);
    Buffer<float> sums(32);
    Buffer<unsigned> ballots(32);
    Buffer<int> votes(32);
    launch("masks", use_masks, Grid{1, 32}, work(), sums.data(), ballots.data(), votes.data());
    for (unsigned i = 0; i < 32; ++i) {
      REQUIRE(sums.read()[i] == (i < 8 ? 28.0F : static_cast<float>(i)));
      REQUIRE(ballots.read()[i] == (i < 8 ? 0xaaU : 0xaaaaaa00U));
      REQUIRE(votes.read()[i] == (i < 8 ? 0 : 11));
    }
  }
}

__global__ void read_outside_mask(float* results) {
  if (threadIdx.x < 16) {
    results[threadIdx.x] = __shfl_sync(0xffffU, 1.0F, static_cast<int>(threadIdx.x + 15));
  }
}

TEST_CASE("A lane outside the mask brings no number") {
  Buffer<float> results(16);
  launch("read", read_outside_mask, Grid{1, 32}, work(), results.data());
  const std::vector<float> found = results.read();
  CHECK(found[0] == 1.0F);
  CHECK(std::isnan(found[1]));
}

__global__ void count(int* integers, unsigned long long* wide, float* reals) {
  const int i = static_cast<int>(threadIdx.x);
  atomicAdd(&integers[0], i);
  atomicMax(&integers[1], i);
  atomicMin(&integers[2], i);
  atomicCAS(&integers[3], 0, i + 1);  // the first to come
  atomicAdd(wide, 1ULL << 40);
  atomicAdd(reals, 0.5F);
}

TEST_CASE("Atomics change memory and return what was there") {
  const Buffer<int> integers(std::vector<int>{0, 0, 100, 0});
  const Buffer<unsigned long long> wide(std::vector<unsigned long long>{0});
  const Buffer<float> reals(std::vector<float>{0});
  const FixedOrder fixed(Order::reverse);
  launch("count", count, Grid{1, 64}, work(), integers.data(), wide.data(), reals.data());
  CHECK(integers.read() == std::vector<int>{2016, 63, 0, 64});
  CHECK(wide.read()[0] == 64ULL << 40);
  CHECK(reals.read()[0] == 32.0F);
}

__global__ void use_functions(float* results) {
  results[0] = __ldg(&results[0]) + rsqrtf(4.0F);
  results[1] = __fdividef(3.0F, 2.0F) + __fdividef(1.0F, 0x1p127F);
  results[2] = static_cast<float>(__popc(0xf0U) + 10 * __ffs(8) + 100 * __ffs(0));
  results[3] = max(__expf(0.0F), 0.5F) + min(2, 3L);
  results[4] = fminf(__logf(1.0F), 1.0F) + max(nanf(""), 7.0F);
}

TEST_CASE("Intrinsics compute what CUDA's do") {
  const Buffer<float> results(std::vector<float>(5, 1.0F));
  launch("functions", use_functions, Grid{1, 1}, work(), results.data());
  CHECK(results.read() == std::vector<float>{1.5F, 1.5F, 44.0F, 3.0F, 7.0F});
}

__global__ void cover(float* results, int count) {
  for (std::int64_t i = rondo::cuda::first_item(); i < count; i += rondo::cuda::item_stride()) {
    results[i] = 1.0F;
  }
}

TEST_CASE("What a launch does not cover stays NaN") {
  Buffer<float> results(1000);
  launch("cover", cover, grid_over(999), work(), results.data(), 999);
  const std::vector<float> found = results.read();
  CHECK(std::count(found.begin(), found.end(), 1.0F) == 999);
  CHECK(std::isnan(found.back()));
}

__global__ void leave_shared(float* results) {
  auto* shared = rondo::cuda::dynamic_shared<float>();
  results[blockIdx.x] = shared[0];
  shared[0] = 1.0F;
}

TEST_CASE("Dynamic shared memory holds nothing of the block before") {
  Buffer<float> results(3);
  launch("leave", leave_shared, Grid{3, 1, sizeof(float)}, work(), results.data());
  for (const float found : results.read()) {
    CHECK(std::isnan(found));
  }
}

TEST_CASE("Host threads launch kernels at the same time") {
  std::vector<std::vector<int>> found(4);
  std::vector<std::thread> hosts;
  for (std::vector<int>& results : found) {
    hosts.emplace_back([&results] {
      for (int i = 0; i < 20; ++i) {
        Buffer<int> buffer(100);
        launch("vote", vote_in_blocks, Grid{1, 100}, work(), 37, buffer.data());
        results = buffer.read();
      }
    });
  }
  for (std::thread& host : hosts) {
    host.join();
  }
  CHECK(found == std::vector<std::vector<int>>(4, std::vector<int>(100, 10037)));
}

// Broken kernels.

enum class Bug {
  early_exit,
  divergent_barrier,
  missing_lane,
  no_such_lane,
  other_mask,
  no_own_lane
};

__global__ void misbehave(Bug bug) {
  switch (bug) {
    case Bug::early_exit:
      if (threadIdx.x >= 40) {
        return;
      }
      __syncthreads();
      break;
    case Bug::divergent_barrier:
      if (threadIdx.x < 40) {
        __syncthreads();
      } else {
        __syncthreads();
      }
      break;
    case Bug::missing_lane:
      if (threadIdx.x != 5) {
        __shfl_down_sync(0xffffffffU, 1.0F, 1);
      }
      break;
    case Bug::no_such_lane:
      __shfl_xor_sync(0xffffffffU, 1.0F, 1);
      break;
    case Bug::other_mask:
      __syncwarp(threadIdx.x % 32 < 16 ? 0xffffffffU : 0xfffffffeU);
      break;
    case Bug::no_own_lane:
      __ballot_sync(1U, 1);
      break;
  }
}

TEST_CASE("A kernel whose threads wait for ever is reported, whatever the order") {
  const auto run = [](Bug bug, unsigned threads) {
    launch("misbehave", misbehave, Grid{1, threads}, work(), bug);
  };
  for (const Order order : kOrders) {
    const FixedOrder fixed(order);
    CHECK_THROWS_WITH(run(Bug::early_exit, 64),
                      ContainsSubstring("of block (0, 0, 0) waits in __syncthreads at ") &&
                          ContainsSubstring("for thread (40, 0, 0)") &&
                          ContainsSubstring("which has ended"));
    CHECK_THROWS_WITH(run(Bug::divergent_barrier, 64),
                      ContainsSubstring("while others of its block wait in __syncthreads at "));
    CHECK_THROWS_WITH(run(Bug::missing_lane, 64),
                      ContainsSubstring("waits in __shfl_down_sync (mask 0xffffffff) at ") &&
                          ContainsSubstring("for thread (5, 0, 0)"));
    CHECK_THROWS_WITH(run(Bug::no_such_lane, 40), ContainsSubstring("its warp has no lane 8"));
    CHECK_THROWS_WITH(run(Bug::other_mask, 32),
                      ContainsSubstring("which waits in __syncwarp (mask 0xfffffffe)"));
    CHECK_THROWS_WITH(run(Bug::no_own_lane, 32), ContainsSubstring("lacks its own lane"));
    // And the next launch is none the worse for it.
    Buffer<int> results(100);
    launch("vote", vote_in_blocks, Grid{1, 100}, work(), 37, results.data());
    CHECK(results.read() == std::vector<int>(100, 10037));
  }
}

}  // namespace
}  // namespace cuda_emulation
