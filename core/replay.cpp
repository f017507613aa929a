#include "core/replay.h"

#include <memory>

#include "core/allocator.h"
#include "core/cuda.h"
#include "core/error.h"

namespace rondo {

void Replay::run(Device device, const std::function<void()>& work) {
  if (again_) {
    again_();
    return;
  }
  if constexpr (kWithCuda) {
    if (device.is_cuda() && seen_) {
      const std::size_t requests = allocator(device).stats().requests;
      const auto graph = std::make_shared<cuda::Graph>(cuda::stream(device), work);
      // Or the graph would go on writing to blocks that have become somebody else's.
      check(allocator(device).stats().requests == requests,
            "[replay] the work takes memory of {}; expected tensors that are there before",
            device.str());
      again_ = [graph, device] { graph->launch(cuda::stream(device)); };
      again_();
      return;
    }
  }
  work();  // the first time kernels are loaded and prepared, which cannot be recorded
  seen_ = true;
}

}  // namespace rondo
