#include "trainers/machine_limits.h"

#include <sys/resource.h>
#include <sys/utsname.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>

#include "ops/linear.h"

namespace rondo {
namespace {

// The rates of `work`, which is worth `amount`, after one call that is not counted: it makes the
// kernels and touches the memory.
std::vector<double> rates(int repetitions, double amount, const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  work();
  std::vector<double> all;
  for (int i = 0; i < repetitions; ++i) {
    const auto started = Clock::now();
    work();
    all.push_back(amount / std::chrono::duration<double>(Clock::now() - started).count());
  }
  return all;
}

}  // namespace

std::vector<double> measure_products(Precision precision, int repetitions) {
  constexpr std::int64_t kSize = 2048;
  // Numbers like a model's: zeros may cost less.
  const Variable a(Tensor::full({kSize, kSize}, 0.7));
  const Variable b(Tensor::full({kSize, kSize}, -0.3));
  const double gflop = 2.0 * kSize * kSize * kSize * 1e-9;
  return rates(repetitions, gflop, [&] { linear(a, b, Variable(), precision); });
}

std::vector<double> measure_copies(int repetitions) {
  const Tensor from = Tensor::full({std::int64_t{1} << 26}, 1.0);
  Tensor to = Tensor::empty(from.shape());
  const double gigabytes = 2.0 * static_cast<double>(from.bytes()) * 1e-9;
  return rates(repetitions, gigabytes, [&] { to.copy_from(from); });
}

double median(std::vector<double> values) {
  check(!values.empty(), "[median] there are no values");
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2.0;
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  utsname system{};
  return uname(&system) == 0 ? system.machine : "unknown";
}

std::size_t peak_rss_bytes() {
  rusage usage{};
  check(getrusage(RUSAGE_SELF, &usage) == 0, "[peak_rss_bytes] the system does not say");
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

}  // namespace rondo
