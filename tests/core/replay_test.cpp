#include "core/replay.h"

#include <cstdlib>

#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// Replays a sum and returns how often its work was called.
int replay_five_times(Device device) {
  Tensor sum = Tensor::zeros({3}, DType::f32, device);
  const Tensor one = Tensor::full({3}, 1.0, DType::f32, device);
  int calls = 0;
  Replay replay;
  for (int times = 1; times <= 5; ++times) {
    replay.run(device, [&] {
      ++calls;
      sum.add_(one);
    });
    CHECK(on_cpu(sum).data<float>()[2] == static_cast<float>(times));
  }
  return calls;
}

}  // namespace

TEST_CASE("work is called every time on the CPU", "[core][replay]") {
  CHECK(replay_five_times(Device::cpu()) == 5);
}

TEST_CASE("work on a GPU is called until it is known, and done every time", "[core][replay][gpu]") {
  CHECK(replay_five_times(test_device()) == 2);
}

TEST_CASE("work that takes memory of a GPU is refused there", "[core][replay][gpu]") {
  if (std::getenv("RONDO_CUDA_NO_CACHE") != nullptr) {
    return;  // it gives the memory back to the system, too, which CUDA refuses
  }
  Replay replay;
  const auto work = [] { Tensor::full({3}, 1.0, DType::f32, test_device()); };
  replay.run(test_device(), work);
  CHECK_THROWS_WITH(replay.run(test_device(), work), ContainsSubstring("takes memory of cuda"));
}

TEST_CASE("work that waits for a GPU cannot be replayed there, which leaves nothing behind",
          "[core][replay][gpu]") {
  const Tensor one = Tensor::full({1}, 1.0, DType::f32, test_device());
  Replay replay;
  const auto wait = [&] { on_cpu(one); };
  replay.run(test_device(), wait);
  CHECK_THROWS_AS(replay.run(test_device(), wait), Error);
  CHECK(on_cpu(one).data<float>()[0] == 1.0F);
}
