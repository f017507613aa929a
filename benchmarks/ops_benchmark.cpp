// Timings of the hot operations, each with its fraction of the limit it should be held against: the
// rate of a plain matrix product, or the bandwidth of a plain copy, measured in the same run.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cmath>

#include "autograd/variable.h"
#include "core/random.h"
#include "models/vocabulary_layers.h"
#include "ops/attention.h"
#include "ops/cpu/gemm_bf16.h"
#include "ops/cross_entropy.h"
#include "ops/dropout.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/sru_scan.h"
#include "trainers/machine_limits.h"
#include "trainers/optimizer.h"

namespace {

using namespace rondo;

Variable parameter(const Shape& shape, Generator& generator) {
  Tensor value = Tensor::empty(shape);
  fill_uniform(value, -1.0, 1.0, generator);
  return Variable(std::move(value), true);
}

struct Limits {
  double gflops =
      median(measure_products(Precision::f32, Device::cpu(), product_size(Device::cpu())));
  double gigabytes = median(measure_copies(Device::cpu()));
};

// Measured once, when the first benchmark has run.
const Limits& limits() {
  static const Limits measured;
  return measured;
}

// Google Benchmark prints "/s" behind every rate, fractions included.
benchmark::Counter rate(const benchmark::State& state, double amount) {
  return {amount * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate};
}

// For what is bound by arithmetic.
void set_gflops(benchmark::State& state, double flop) {
  state.counters["GFLOP/s"] = rate(state, flop * 1e-9);
  state.counters["of product"] = rate(state, flop * 1e-9 / limits().gflops);
}

// For what is bound by memory: bytes read and written, at the least. More than all of the copy's
// bandwidth is possible where the bytes stay in a cache.
void set_gigabytes(benchmark::State& state, double bytes) {
  state.counters["GB/s"] = rate(state, bytes * 1e-9);
  state.counters["of copy"] = rate(state, bytes * 1e-9 / limits().gigabytes);
}

// The limit of products once more, at the time of the other benchmarks: a square one.
void limit_product(benchmark::State& state) {
  const std::int64_t n = 2048;
  Generator generator(1);
  const Variable a = parameter({n, n}, generator).detach();
  const Variable b = parameter({n, n}, generator).detach();
  for (auto _ : state) {
    benchmark::DoNotOptimize(linear(a, b).value().raw());
  }
  set_gflops(state, 2.0 * static_cast<double>(n * n * n));
}

// The same of operands rounded to bf16: by the processor's own bf16 products, or by f32 ones.
// Rounding is part of it. Says which of the two training.precision bf16 should use on this
// processor (cpu::bf16_products_are_fast).
void limit_product_bf16(benchmark::State& state, bool native) {
  if (native && !cpu::has_bf16_products()) {
    state.SkipWithError("this processor has no bf16 products");
    return;
  }
  const std::int64_t n = 2048;
  Generator generator(1);
  const Tensor a = parameter({n, n}, generator).value();
  const Tensor b = parameter({n, n}, generator).value();
  Tensor c = Tensor::zeros({n, n});
  for (auto _ : state) {
    (native ? cpu::gemm_bf16_native : cpu::gemm_bf16_rounded)(
        cpu::Transpose::no, cpu::Transpose::yes, n, n, n, 1.0F, a.data<float>(), n, b.data<float>(),
        n, 0.0F, c.data<float>(), n);
    benchmark::ClobberMemory();
  }
  set_gflops(state, 2.0 * static_cast<double>(n * n * n));
}

// The limit of everything else: a copy of 256 MiB, which no cache holds.
void limit_copy(benchmark::State& state) {
  const Tensor from = Tensor::zeros({std::int64_t{1} << 26});
  Tensor to = Tensor::zeros(from.shape());
  for (auto _ : state) {
    to.copy_from(from);
    benchmark::ClobberMemory();
  }
  set_gigabytes(state, 2.0 * static_cast<double>(from.bytes()));
}

// A weight product of the 42M model, forward: (T B, d) times (n, d).
void linear_forward(benchmark::State& state) {
  Generator generator(2);
  const Variable x = parameter({512 * 4, 1920}, generator).detach();
  const Variable weight = parameter({480, 1920}, generator).detach();
  for (auto _ : state) {
    benchmark::DoNotOptimize(linear(x, weight).value().raw());
  }
  set_gflops(state, 2.0 * 512 * 4 * 1920 * 480);
}

struct ScanCase {
  SruScanInputs inputs;
  double elements;
};

ScanCase scan_case(std::int64_t steps, std::int64_t batch, std::int64_t units) {
  Generator generator(3);
  return {{parameter({steps, batch, 3 * units}, generator),
           parameter({steps, batch, units}, generator), parameter({2 * units}, generator),
           parameter({2 * units}, generator), Variable(), Tensor(), Tensor()},
          static_cast<double>(steps * batch * units)};
}

void sru_scan_forward(benchmark::State& state, std::int64_t steps, std::int64_t batch) {
  const ScanCase c = scan_case(steps, batch, 1920);
  const NoGradGuard no_grad;
  for (auto _ : state) {
    benchmark::DoNotOptimize(sru_scan(c.inputs).h.value().raw());
  }
  set_gigabytes(state, c.elements * 5 * 4);  // u0 u1 u2 x in, h out
}

void sru_scan_forward_and_backward(benchmark::State& state, std::int64_t steps,
                                   std::int64_t batch) {
  const ScanCase c = scan_case(steps, batch, 1920);
  const Tensor grad = Tensor::full({steps, batch, 1920}, 1.0);
  backward(sru_scan(c.inputs).h, grad);  // memory comes from the system once
  for (auto _ : state) {
    for (Variable v : {c.inputs.u, c.inputs.x, c.inputs.weight_c, c.inputs.bias}) {
      v.zero_grad();
    }
    backward(sru_scan(c.inputs).h, grad);
  }
  // Forward also writes c; backward() copies the gradient it is given, reads u, x, c and that copy,
  // and writes the gradients of u and x.
  set_gigabytes(state, c.elements * (6 + 2 + 6 + 4) * 4);
}

// Training's attention, over a memory as long as the segment, with and without dropout.
void attention_forward_and_backward(benchmark::State& state, std::int64_t steps, std::int64_t batch,
                                    std::int64_t size, double dropout) {
  Generator generator(4);
  Variable q = parameter({steps, batch, size}, generator);
  Variable kv = parameter({2 * steps, batch, 2 * size}, generator);
  const Tensor grad = Tensor::full(q.shape(), 1.0);
  for (auto _ : state) {
    q.zero_grad();
    kv.zero_grad();
    backward(attention(q, kv, {}, {1, dropout, &generator}), grad);
  }
  // Two products forward and four backward, over what the causal mask leaves.
  const double visible = static_cast<double>(steps) * (static_cast<double>(steps) * 1.5 + 0.5);
  set_gflops(state, static_cast<double>(batch * size) * 6 * 2.0 * visible);
}

void layer_norm_forward_and_backward(benchmark::State& state) {
  Generator generator(5);
  Variable x = parameter({512 * 4, 480}, generator);
  Variable weight = parameter({480}, generator);
  Variable bias = parameter({480}, generator);
  const Tensor grad = Tensor::full(x.shape(), 1.0);
  for (auto _ : state) {
    for (Variable v : {x, weight, bias}) {
      v.zero_grad();
    }
    backward(layer_norm(x, weight, bias), grad);
  }
  set_gigabytes(state, 5.0 * static_cast<double>(x.value().bytes()));
}

void cross_entropy_with_gradient(benchmark::State& state) {
  Generator generator(6);
  const Variable logits = parameter({512 * 4, 205}, generator);
  const Tensor targets = Tensor::zeros({512 * 4}, DType::i32);
  for (auto _ : state) {
    benchmark::DoNotOptimize(cross_entropy(logits, targets).value().raw());
  }
  set_gigabytes(state, 2.0 * static_cast<double>(logits.value().bytes()));
}

void dropout_forward_and_backward(benchmark::State& state) {
  Generator generator(7);
  Variable x = parameter({512 * 4, 1920}, generator);
  const Tensor grad = Tensor::full(x.shape(), 1.0);
  for (auto _ : state) {
    x.zero_grad();
    backward(dropout(x, 0.1, generator), grad);
  }
  // x in, y out; a gradient in, the other out; backward() also copies the one it is given. The mask
  // is a bit an element.
  set_gigabytes(state, 6.0 * static_cast<double>(x.value().bytes()));
}

struct EmbeddingCase {
  Tensor ids;
  Variable weight;
};

EmbeddingCase embedding_case() {
  Generator generator(8);
  EmbeddingCase c{Tensor::empty({512, 4}, DType::i32), parameter({205, 1920}, generator)};
  const RandomStream stream = generator.next();
  std::uint64_t index = 0;
  for (std::int32_t& id : c.ids.values<std::int32_t>()) {
    id = static_cast<std::int32_t>(stream.word(index++) % 205);
  }
  return c;
}

void embedding_forward(benchmark::State& state) {
  const EmbeddingCase c = embedding_case();
  const NoGradGuard no_grad;
  for (auto _ : state) {
    benchmark::DoNotOptimize(embedding(c.ids, c.weight).value().raw());
  }
  set_gigabytes(state, 2.0 * 512 * 4 * 1920 * 4);
}

void embedding_forward_and_backward(benchmark::State& state) {
  EmbeddingCase c = embedding_case();
  const Tensor grad = Tensor::full({512, 4, 1920}, 1.0);
  for (auto _ : state) {
    c.weight.zero_grad();
    backward(embedding(c.ids, c.weight), grad);
  }
  // Rows in and out; their gradient copied, then in; the table's out.
  set_gigabytes(state, 5.0 * 512 * 4 * 1920 * 4 + static_cast<double>(c.weight.value().bytes()));
}

// The matrices of one attending layer of the 42M model, with gradients.
Parameters layer_parameters() {
  Generator generator(9);
  Parameters parameters{{"linear1", parameter({480, 1920}, generator)},
                        {"linear2", parameter({960, 480}, generator)},
                        {"linear3", parameter({5760, 480}, generator)}};
  for (NamedVariable& p : parameters) {
    p.variable.grad() = Tensor::full(p.variable.shape(), 1e-3);
  }
  return parameters;
}

void optimizer_step_radam(benchmark::State& state) {
  const Parameters parameters = layer_parameters();
  const auto optimizer = make_optimizer({}, parameters);
  optimizer->set_progress({.steps = 1000});  // past the first steps, which move no weight
  for (auto _ : state) {
    optimizer->step(1e-4);
  }
  // Weight and both moments in and out, gradient in.
  set_gigabytes(state, 7.0 * 4 * static_cast<double>(count(parameters)));
}

void norm_of_gradient(benchmark::State& state) {
  const Parameters parameters = layer_parameters();
  for (auto _ : state) {
    benchmark::DoNotOptimize(grad_norm(parameters));
  }
  set_gigabytes(state, 4.0 * static_cast<double>(count(parameters)));
}

// Both ends of a model of 1024 units over the 267,735 words of Wiki-103, forward and backward, for
// words as frequent as Zipf has it: the w-th in proportion to 1 / w.
class VocabularyEnds {
 public:
  static constexpr std::int64_t kTokens = 256;

  explicit VocabularyEnds(SoftmaxType type) {
    ModelConfig config;
    config.hidden_size = 1024;
    config.softmax = type;
    config.tie_weights = type == SoftmaxType::full;  // adaptive rows always are
    if (type == SoftmaxType::adaptive) {
      config.cutoffs = std::vector<std::int64_t>{19997, 39997, 199997};
    }
    Generator generator(10);
    Initializer init(generator);
    layers_ = build_vocabulary_layers(config, kWords, config.hidden_size, init);
    h_ = parameter({kTokens, 1, config.hidden_size}, generator);
    const RandomStream stream = generator.next();
    for (std::int64_t i = 0; i < kTokens + 1; ++i) {
      const double u = unit_float(stream.word(static_cast<std::uint64_t>(i)));
      words_.data<std::int32_t>()[i] =
          static_cast<std::int32_t>(std::pow(static_cast<double>(kWords), u)) - 1;
    }
  }

  void step() {
    for (const Parameters& all : {layers_->embedding_parameters(), layers_->output_parameters()}) {
      zero_grads(all);
    }
    h_.zero_grad();
    const Variable x = layers_->embed(words_.narrow(0, kTokens), {});
    backward(layers_->loss(add(h_, x), words_.narrow(1, kTokens), {}));
  }

 private:
  static constexpr std::int64_t kWords = 267735;

  std::unique_ptr<VocabularyLayers> layers_;
  Variable h_;
  Tensor words_ = Tensor::empty({kTokens + 1, 1}, DType::i32);
};

// Tokens a second of the full softmax in this run, measured once.
double full_softmax_rate() {
  static const double measured = [] {
    VocabularyEnds full(SoftmaxType::full);
    full.step();
    const auto start = std::chrono::steady_clock::now();
    full.step();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    return static_cast<double>(VocabularyEnds::kTokens) / taken.count();
  }();
  return measured;
}

void adaptive_softmax(benchmark::State& state) {
  const double full = full_softmax_rate();
  VocabularyEnds adaptive(SoftmaxType::adaptive);
  adaptive.step();
  for (auto _ : state) {
    adaptive.step();
  }
  const auto tokens = static_cast<double>(VocabularyEnds::kTokens);
  state.counters["tokens"] = rate(state, tokens);
  state.counters["full"] = full;
  state.counters["times full"] = rate(state, tokens / full);
}

BENCHMARK(limit_product)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(limit_copy)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(limit_product_bf16, native, true)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(limit_product_bf16, rounded_f32, false)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(linear_forward)->UseRealTime()->Unit(benchmark::kMillisecond);
// A layer of the 42M model, and one that no cache holds any part of (1.1 GB in all).
BENCHMARK_CAPTURE(sru_scan_forward, layer, 512, 4)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(sru_scan_forward, large, 1024, 8)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(sru_scan_forward_and_backward, layer, 512, 4)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(sru_scan_forward_and_backward, large, 1024, 8)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(attention_forward_and_backward, large, 512, 4, 480, 0.0)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(attention_forward_and_backward, large_dropout, 512, 4, 480, 0.1)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(attention_forward_and_backward, small, 256, 8, 128, 0.0)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(attention_forward_and_backward, small_dropout, 256, 8, 128, 0.1)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(layer_norm_forward_and_backward)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(cross_entropy_with_gradient)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(adaptive_softmax)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(dropout_forward_and_backward)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(embedding_forward)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(embedding_forward_and_backward)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(optimizer_step_radam)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(norm_of_gradient)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
