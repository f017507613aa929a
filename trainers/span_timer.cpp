#include "trainers/span_timer.h"

#include <chrono>

#include "core/cuda.h"

namespace rondo {
namespace {

class CpuTimer final : public SpanTimer {
 public:
  void start() override { started_ = Clock::now(); }
  void stop() override {
    seconds_.push_back(std::chrono::duration<double>(Clock::now() - started_).count());
  }
  std::vector<double> seconds() const override { return seconds_; }

 private:
  using Clock = std::chrono::steady_clock;

  Clock::time_point started_;
  std::vector<double> seconds_;
};

class GpuTimer final : public SpanTimer {
 public:
  explicit GpuTimer(Device device) : device_(device) {}

  void start() override { mark(starts_); }
  void stop() override { mark(stops_); }
  std::vector<double> seconds() const override {
    std::vector<double> all;
    for (std::size_t i = 0; i < stops_.size(); ++i) {
      stops_[i].synchronize();
      all.push_back(stops_[i].seconds_since(starts_[i]));
    }
    return all;
  }

 private:
  void mark(std::vector<cuda::Event>& marks) {
    marks.emplace_back(device_, /*timed=*/true).record(cuda::stream(device_));
  }

  Device device_;
  std::vector<cuda::Event> starts_;
  std::vector<cuda::Event> stops_;
};

}  // namespace

std::unique_ptr<SpanTimer> span_timer(Device device) {
  if constexpr (kWithCuda) {
    if (device.is_cuda()) {
      return std::make_unique<GpuTimer>(device);
    }
  }
  return std::make_unique<CpuTimer>();
}

}  // namespace rondo
