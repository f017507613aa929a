// Work that is done again and again in the same way.
#pragma once

#include <functional>

#include "core/device.h"

namespace rondo {

// Starts the work of many small kernels with one call, once it has seen it: a GPU would else wait
// for the CPU between them. On the CPU the work is just done.
class Replay {
 public:
  // Does `work`, which is the same every time: the same operations on the same tensors of
  // `device`, which live as long as this, with no number in their arguments that changes. It takes
  // no memory and waits for nothing. On a GPU it is called the first two times, and recorded
  // (cuda::Graph) in the second; from then on what was recorded is done.
  void run(Device device, const std::function<void()>& work);

 private:
  bool seen_ = false;
  std::function<void()> again_;
};

}  // namespace rondo
