#include "trainers/machine_limits.h"

#include <sys/resource.h>
#include <sys/utsname.h>

#include <algorithm>
#include <fstream>
#include <functional>

#include "core/cuda.h"
#include "core/random.h"
#include "ops/linear.h"
#include "trainers/span_timer.h"

namespace rondo {
namespace {

// The rates of `work`, which is worth `amount`, after one call that is not counted: it makes the
// kernels and touches the memory. A GPU is asked for several at once, so that it does not wait for
// the CPU between them.
std::vector<double> rates(Device device, int repetitions, double amount,
                          const std::function<void()>& work) {
  const int at_once = device.is_cuda() ? 10 : 1;
  const auto timer = span_timer(device);
  work();
  for (int i = 0; i < repetitions; ++i) {
    timer->start();
    for (int k = 0; k < at_once; ++k) {
      work();
    }
    timer->stop();
  }
  std::vector<double> all;
  for (const double seconds : timer->seconds()) {
    all.push_back(amount * at_once / seconds);
  }
  return all;
}

}  // namespace

std::int64_t product_size(Device device) { return device.is_cuda() ? 8192 : 2048; }

std::vector<double> measure_products(Precision precision, Device device, std::int64_t size,
                                     int repetitions) {
  const DType dtype = activation_type(precision, device);
  // Random numbers, like a model's: a GPU is faster on numbers that are all alike.
  Generator generator(1);
  const auto matrix = [&] {
    Tensor values = Tensor::empty({size, size});
    fill_uniform(values, -1.0, 1.0, generator);
    return Variable(values.to(device).to(dtype));
  };
  const Variable a = matrix();
  const Variable b = matrix();
  const auto edge = static_cast<double>(size);
  return rates(device, repetitions, 2e-9 * edge * edge * edge, [&] {
    if (dtype == DType::f32) {
      linear(a, b, Variable(), precision);
    } else {
      matmul(a, b);  // linear would round b, which is no weight, in every call
    }
  });
}

std::vector<double> measure_copies(Device device, int repetitions) {
  const Tensor from = Tensor::zeros({std::int64_t{1} << 26}, DType::f32, device);
  Tensor to = Tensor::empty(from.shape(), DType::f32, device);
  const double gigabytes = 2.0 * static_cast<double>(from.bytes()) * 1e-9;
  return rates(device, repetitions, gigabytes, [&] { to.copy_from(from); });
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

std::string device_name(Device device) {
  if constexpr (kWithCuda) {
    if (device.is_cuda()) {
      return cuda::properties(device.index).name;
    }
  }
  return processor_name();
}

std::size_t peak_rss_bytes() {
  rusage usage{};
  check(getrusage(RUSAGE_SELF, &usage) == 0, "[peak_rss_bytes] the system does not say");
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

}  // namespace rondo
