// Timings of the hot operations on a GPU, each held against the limit it should come near: the rate
// of a plain matrix product, or the bandwidth of a plain copy, measured in the same run.
//
//   gpu_benchmark [--json FILE] [--device cuda:N] [--steps T] [--batch B] [--units D]
//
// Sizes are those of a layer of the 42M model (T 512, B 24, D 1920) unless said otherwise; smaller
// ones only show that everything runs.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "core/cuda.h"
#include "core/file.h"
#include "core/random.h"
#include "ops/attention.h"
#include "ops/cross_entropy.h"
#include "ops/dropout.h"
#include "ops/embedding.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/sru_scan.h"
#include "trainers/machine_limits.h"
#include "trainers/optimizer.h"

namespace {

using namespace rondo;

struct Sizes {
  std::int64_t steps = 512;
  std::int64_t batch = 24;
  std::int64_t units = 1920;
  std::int64_t vocabulary = 205;
  int repetitions = 20;

  std::int64_t rows() const { return steps * batch; }
  std::int64_t projection() const { return std::max<std::int64_t>(1, units / 4); }
};

// What is timed in one type of activations.
class Bench {
 public:
  Bench(Device device, const Sizes& sizes) : device_(device), sizes_(sizes) {}

  // Random values in [-1, 1).
  Variable activation(const Shape& shape, DType type) {
    return Variable(values(shape).to(type), true);
  }
  Variable parameter(const Shape& shape) { return Variable(values(shape), true); }

  // Seconds of one call: the median of five runs of several calls each, after two that are not
  // counted.
  double seconds(const std::function<void()>& work) const {
    std::vector<double> all;
    if constexpr (kWithCuda) {
      const cuda::Stream stream = cuda::stream(device_);
      work();
      work();
      for (int run = 0; run < 5; ++run) {
        cuda::Event begin(device_, true);
        cuda::Event end(device_, true);
        begin.record(stream);
        for (int i = 0; i < sizes_.repetitions; ++i) {
          work();
        }
        end.record(stream);
        end.synchronize();
        all.push_back(end.seconds_since(begin) / sizes_.repetitions);
      }
    }
    return median(all);
  }

  // For what is bound by memory: bytes read and written, at the least.
  void memory_bound(const std::string& name, double bytes, const std::function<void()>& work) {
    report(name, seconds(work), bytes * 1e-9, "GB/s", copy_);
  }
  // For what is bound by arithmetic, held against the product of the same operands.
  void arithmetic_bound(const std::string& name, DType type, double flop,
                        const std::function<void()>& work) {
    report(name, seconds(work), flop * 1e-12, "TFLOP/s", products_[type]);
  }

  void measure_copy(std::int64_t elements) {
    const Tensor from = Tensor::zeros({elements}, DType::f32, device_);
    Tensor to = Tensor::zeros(from.shape(), DType::f32, device_);
    const double bytes = 2.0 * static_cast<double>(from.bytes());
    const double time = seconds([&] { to.copy_from(from); });
    copy_ = bytes * 1e-9 / time;
    report("limit: copy", time, bytes * 1e-9, "GB/s", copy_);
  }
  void measure_product(DType type, Precision precision, std::int64_t n) {
    const NoGradGuard no_grad;
    const Variable a = activation({n, n}, type);
    const Variable b = activation({n, n}, type);
    const double flop = 2.0 * std::pow(static_cast<double>(n), 3.0);
    const double time = seconds([&] {
      if (type == DType::f32) {
        linear(a, b, Variable(), precision);
      } else {
        matmul(a, b);  // linear would round b, which is no weight, in every call
      }
    });
    products_[type] = std::max(products_[type], flop * 1e-12 / time);
    report(fmt::format("limit: product {} {}", n, name(precision)), time, flop * 1e-12, "TFLOP/s",
           products_[type]);
  }

  const nlohmann::json& results() const { return results_; }

 private:
  Tensor values(const Shape& shape) {
    Tensor tensor = Tensor::empty(shape);
    fill_uniform(tensor, -1.0, 1.0, generator_);
    return tensor.to(device_);
  }

  void report(const std::string& name, double time, double amount, const char* unit, double limit) {
    const double rate = amount / time;
    fmt::print("{:<44}{:>10.3f} ms{:>10.1f} {:<8}{:>6.0f}%\n", name, time * 1e3, rate, unit,
               limit > 0.0 ? 100.0 * rate / limit : 0.0);
    std::fflush(stdout);
    results_.push_back({{"name", name},
                        {"seconds", time},
                        {"rate", rate},
                        {"unit", unit},
                        {"of_limit", limit > 0.0 ? rate / limit : 0.0}});
  }

  Device device_;
  Sizes sizes_;
  Generator generator_{1};
  double copy_ = 0.0;
  std::map<DType, double> products_;
  nlohmann::json results_ = nlohmann::json::array();
};

// Backward from a gradient made once, which the engine copies first: 2 elements more to move.
class Backward {
 public:
  explicit Backward(std::vector<Variable> leaves) : leaves_(std::move(leaves)) {}

  void operator()(const Variable& y) {
    if (!grad_.defined()) {
      grad_ = Tensor::full(y.shape(), 0.5, y.dtype(), y.device());
    }
    backward(y, grad_);
    for (Variable& leaf : leaves_) {
      leaf.zero_grad();  // or the next gradients would be added
    }
  }

 private:
  std::vector<Variable> leaves_;
  Tensor grad_;
};

void time_recurrence(Bench& bench, const Sizes& s, DType type) {
  const SruScanInputs in{bench.activation({s.steps, s.batch, 3 * s.units}, type),
                         bench.activation({s.steps, s.batch, s.units}, type),
                         bench.parameter({2 * s.units}),
                         bench.parameter({2 * s.units}),
                         bench.parameter({s.batch, s.units}),
                         Tensor(),
                         Tensor()};
  const double element = static_cast<double>(s.rows() * s.units) * size_of(type);
  {
    const NoGradGuard no_grad;  // reads u and x, writes h
    bench.memory_bound(fmt::format("sru_scan {} forward, not recorded", name(type)), 5 * element,
                       [&] { sru_scan(in); });
  }
  bench.memory_bound(fmt::format("sru_scan {} forward", name(type)), 6 * element,
                     [&] { sru_scan(in); });
  // Backward reads u, x, c and the gradient of h, and writes those of u and x.
  Backward back({in.u, in.x, in.weight_c, in.bias, in.c0});
  bench.memory_bound(fmt::format("sru_scan {} forward and backward", name(type)), 18 * element,
                     [&] { back(sru_scan(in).h); });
}

void time_attention(Bench& bench, const Sizes& s, DType type, double dropout) {
  const std::int64_t n = s.projection();
  const Variable q = bench.activation({s.steps, s.batch, n}, type);
  const Variable kv = bench.activation({2 * s.steps, s.batch, 2 * n}, type);
  const auto visible = static_cast<double>(s.batch * s.steps) *
                       (static_cast<double>(s.steps) + static_cast<double>(s.steps + 1) / 2.0);
  Generator generator(2);
  Backward back({q, kv});
  bench.arithmetic_bound(
      fmt::format("attention {} dropout {} forward and backward", name(type), dropout), type,
      12.0 * visible * static_cast<double>(n), [&] {
        AttentionOptions options;
        options.dropout = dropout;
        options.generator = &generator;
        back(attention(q, kv, AttentionMask{}, options));
      });
}

void time_rows(Bench& bench, const Sizes& s, DType type) {
  const std::int64_t n = s.projection();
  const double element = static_cast<double>(s.rows()) * size_of(type);
  const Variable z = bench.activation({s.steps, s.batch, n}, type);
  const Variable weight = bench.parameter({n});
  const Variable bias = bench.parameter({n});
  Backward back({z, weight, bias});
  bench.memory_bound(fmt::format("layer_norm {} forward and backward", name(type)),
                     7.0 * element * static_cast<double>(n),
                     [&] { back(layer_norm(z, weight, bias)); });

  const Variable x = bench.activation({s.steps, s.batch, s.units}, type);
  Generator generator(3);
  Backward back_dropout({x});
  bench.memory_bound(fmt::format("dropout {} forward and backward", name(type)),
                     6.0 * element * static_cast<double>(s.units),
                     [&] { back_dropout(dropout(x, 0.2, generator)); });

  const Variable w = bench.parameter({n, s.units});
  Backward back_linear({x, w});
  const Precision precision = type == DType::bf16  ? Precision::bf16
                              : type == DType::f16 ? Precision::f16
                                                   : Precision::f32;
  bench.arithmetic_bound(fmt::format("linear {} forward and backward", name(type)), type,
                         6.0 * static_cast<double>(s.rows() * n * s.units),
                         [&] { back_linear(linear(x, w, Variable(), precision)); });
}

void time_ends(Bench& bench, const Sizes& s, Device device) {
  const auto elements = static_cast<double>(s.rows());
  Tensor ids = Tensor::empty({s.steps, s.batch}, DType::i32);
  for (std::int64_t i = 0; i < ids.numel(); ++i) {
    ids.data<std::int32_t>()[i] = static_cast<std::int32_t>(i * 7919 % s.vocabulary);
  }
  ids = ids.to(device);
  const Variable logits = bench.parameter({s.steps, s.batch, s.vocabulary});
  bench.memory_bound("cross_entropy f32 with gradient",
                     2.0 * 4.0 * elements * static_cast<double>(s.vocabulary),
                     [&] { cross_entropy(logits, ids); });
  const Variable table = bench.parameter({s.vocabulary, s.units});
  Backward back({table});
  bench.memory_bound("embedding f32 forward and backward",
                     4.0 * 4.0 * elements * static_cast<double>(s.units),
                     [&] { back(embedding(ids, table)); });

  // All weights of ten layers, or as many as the sizes give.
  Parameters parameters;
  for (int i = 0; i < 10; ++i) {
    Variable p = bench.parameter({3 * s.units, s.projection()});
    p.grad() = Tensor::full(p.shape(), 1e-3, DType::f32, device);
    parameters.push_back({fmt::format("p{}", i), p});
  }
  const auto optimizer = make_optimizer(OptimizerConfig{}, parameters);
  const double bytes = 4.0 * static_cast<double>(count(parameters));
  bench.memory_bound("radam step", 7.0 * bytes, [&] { optimizer->step(1e-6); });
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Timings of Rondo's operations on a GPU");
  std::string json_file;
  std::string device_name = "cuda";
  Sizes sizes;
  app.add_option("--json", json_file, "Write the results to this file, too");
  app.add_option("--device", device_name, "cuda or cuda:N");
  app.add_option("--steps", sizes.steps, "T")->check(CLI::PositiveNumber);
  app.add_option("--batch", sizes.batch, "B")->check(CLI::PositiveNumber);
  app.add_option("--units", sizes.units, "D")->check(CLI::PositiveNumber);
  app.add_option("--repetitions", sizes.repetitions, "Calls a run")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    const Device device = Device::parse(device_name);
    require_available(device);
    check(device.is_cuda(), "--device: expected cuda or cuda:N, found {}", device_name);
    nlohmann::json report = {{"steps", sizes.steps},
                             {"batch", sizes.batch},
                             {"units", sizes.units},
                             {"vocabulary", sizes.vocabulary}};
    if constexpr (kWithCuda) {
      report["device"] = cuda::properties(device.index).name;
    }
    fmt::print("{}: T {}, B {}, D {}\n", report["device"].get<std::string>(), sizes.steps,
               sizes.batch, sizes.units);
    Bench bench(device, sizes);
    // A quarter of a gigabyte, which no cache holds, and products of thousands, at full size.
    const std::int64_t large = std::min<std::int64_t>(8192, 4 * sizes.units);
    bench.measure_copy(std::min<std::int64_t>(std::int64_t{1} << 26, large * large));
    bench.measure_product(DType::f32, Precision::f32, large);
    bench.measure_product(DType::bf16, Precision::bf16, large);
    bench.measure_product(DType::f16, Precision::f16, large);
    for (const DType type : {DType::bf16, DType::f16, DType::f32}) {
      time_recurrence(bench, sizes, type);
      time_attention(bench, sizes, type, 0.0);
      time_attention(bench, sizes, type, 0.1);
      time_rows(bench, sizes, type);
    }
    time_ends(bench, sizes, device);
    if (!json_file.empty()) {
      report["results"] = bench.results();
      write_file_atomically(json_file, report.dump(2) + "\n");
    }
  } catch (const std::exception& problem) {
    fmt::print(stderr, "gpu_benchmark: {}\n", problem.what());
    return 1;
  }
  return 0;
}
