// Times what a device does.
#pragma once

#include <memory>
#include <vector>

#include "core/device.h"

namespace rondo {

// Times spans of a device's work. On a GPU the spans are those of its own work, wherever the CPU
// stands meanwhile; the work is not held up.
class SpanTimer {
 public:
  virtual ~SpanTimer() = default;
  // What is asked for between the two belongs to the span.
  virtual void start() = 0;
  virtual void stop() = 0;
  // The seconds of every span that was stopped, in order. On a GPU this waits for the last.
  virtual std::vector<double> seconds() const = 0;
};

std::unique_ptr<SpanTimer> span_timer(Device device);

}  // namespace rondo
