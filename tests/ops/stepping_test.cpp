#include "ops/stepping.h"

#include "ops/attention.h"
#include "ops/attention_step.h"
#include "ops/cpu/rows.h"
#include "ops/elementwise.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/lstm.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

constexpr double kTolerance = 1e-5;

Tensor empty_like(const Tensor& x) { return Tensor::empty(x.shape(), x.dtype(), x.device()); }

// Steps that give tensors on the device of their inputs, which they leave as they are.
using Step = std::function<std::vector<Tensor>(std::span<const Tensor>)>;

// REQUIREs that a step gives on the test device what it gives on the CPU.
void require_agreement(const Step& step, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> on_the_cpu;
  for (const Tensor& input : inputs) {
    on_the_cpu.push_back(on_cpu(input));
  }
  const std::vector<Tensor> expected = step(on_the_cpu);
  const std::vector<Tensor> found = step(inputs);
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    INFO("result " << i);
    REQUIRE(found[i].device() == inputs[0].device());
    REQUIRE(max_relative_error(found[i], expected[i]) < kTolerance);
  }
}

Tensor linear_of(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  Tensor y = Tensor::empty({x.size(0), weight.size(0)}, DType::f32, x.device());
  linear_step(x, weight, bias, y);
  return y;
}

}  // namespace

TEST_CASE("rows on vectors give what the plain loops give", "[ops][stepping][cpu]") {
  Generator generator(1);
  for (const std::int64_t rows : {1, 3, 4, 8, 13, 30}) {
    for (const std::int64_t columns : {1, 3, 16, 17, 47, 96}) {
      for (const std::int64_t streams : {1, 2, 3, 7}) {
        INFO(rows << " x " << columns << ", " << streams << " streams");
        const Tensor w = random_tensor({rows, columns}, DType::f32, generator, -1, 1, true);
        const Tensor x = random_tensor({streams, columns}, DType::f32, generator, -1, 1, true);
        Tensor y = Tensor::zeros({streams, rows + 1});
        Tensor plain = Tensor::zeros({streams, rows + 1});
        cpu::rows_dot(w.data<float>(), rows, columns, x.data<float>(), streams, y.data<float>(),
                      rows + 1);
        cpu::rows_dot_plain(w.data<float>(), rows, columns, x.data<float>(), streams,
                            plain.data<float>(), rows + 1);
        REQUIRE(max_relative_error(y, plain) < kTolerance);  // the gap after each row is untouched

        // Any part of the rows with any of the vectors gives the same bits.
        for (std::int64_t s = 0; s < streams; ++s) {
          Tensor alone = Tensor::zeros({rows});
          for (std::int64_t r = 0; r < rows; r += 5) {
            cpu::rows_dot(w.data<float>() + r * columns, std::min<std::int64_t>(5, rows - r),
                          columns, x.data<float>() + s * columns, 1, alone.data<float>() + r, rows);
          }
          REQUIRE(same_bits(alone, y[s].narrow(0, rows)));
        }

        const Tensor weights = random_tensor({rows}, DType::f32, generator);
        Tensor sum = Tensor::empty({columns});
        Tensor plain_sum = Tensor::empty({columns});
        cpu::weighted_rows(w.data<float>(), rows, columns, weights.data<float>(),
                           sum.data<float>());
        cpu::weighted_rows_plain(w.data<float>(), rows, columns, weights.data<float>(),
                                 plain_sum.data<float>());
        REQUIRE(max_relative_error(sum, plain_sum) < kTolerance);
      }
    }
  }
}

TEST_CASE("linear_step is linear, with any threads", "[ops][stepping]") {
  Generator generator(2);
  for (const auto& [out, in] : {std::pair<std::int64_t, std::int64_t>{5, 3}, {1000, 150}}) {
    const Variable weight(random_tensor({out, in}, DType::f32, generator));
    const Variable bias(random_tensor({out}, DType::f32, generator));
    const Variable x(random_tensor({3, in}, DType::f32, generator));
    const Tensor expected = linear(x, weight, bias).value();
    Tensor first;
    for_thread_counts([&] {
      const Tensor y = linear_of(x.value(), weight.value(), bias.value());
      REQUIRE(max_relative_error(y, expected) < kTolerance);
      if (first.defined()) {
        REQUIRE(same_bits(y, first));
      }
      first = y;
    });
  }
  Tensor y = Tensor::empty({2, 5});
  REQUIRE_THAT(error_of([&] {
                 linear_step(Tensor::zeros({2, 4}), Tensor::zeros({5, 3}), Tensor(), y);
               }),
               ContainsSubstring("[linear_step] x has shape [2, 4]; expected [2, 3]"));
}

TEST_CASE("linear_step gives a stream the same bits beside any others", "[ops][stepping]") {
  Generator generator(4);
  for (const std::int64_t in : {3, 132, 640, 1923}) {
    const Tensor weight = random_tensor({9, in}, DType::f32, generator);
    const Tensor bias = random_tensor({9}, DType::f32, generator);
    const Tensor x = random_tensor({19, in}, DType::f32, generator);
    const Tensor alone = linear_of(x.narrow(18, 1), weight, bias);
    for (const std::int64_t streams : {2, 3, 4, 7, 8, 16, 19}) {
      INFO(in << " inputs, " << streams << " streams");
      const Tensor together = linear_of(x.narrow(19 - streams, streams), weight, bias);
      REQUIRE(same_bits(together.narrow(streams - 1, 1), alone));
    }
    // Wherever in memory the same numbers lie.
    Tensor moved = random_tensor(weight.shape(), DType::f32, generator, -1, 1, true);
    moved.copy_from(weight);
    REQUIRE(same_bits(linear_of(x.narrow(18, 1), moved, bias), alone));
  }
}

TEST_CASE("linear_step on a GPU gives what the CPU gives", "[ops][stepping][gpu]") {
  Generator generator(5);
  // Rows of less than a group of 128, of some, and of more than are read at once; whole vectors and
  // not; one block and several, the last of them not full.
  for (const std::int64_t in : {1, 4, 130, 512, 897, 2180}) {
    for (const std::int64_t out : {1, 9}) {
      for (const std::int64_t streams : {1, 2, 3, 8, 9, 17}) {
        for (const bool offset : {false, true}) {
          INFO(in << " to " << out << ", " << streams << " streams, offset " << offset);
          const std::vector<Tensor> inputs = {
              random_tensor({streams, in}, DType::f32, generator, -1, 1, offset),
              random_tensor({out, in}, DType::f32, generator, -1, 1, offset),
              random_tensor({out}, DType::f32, generator)};
          require_agreement(
              [](std::span<const Tensor> in_) {
                return std::vector<Tensor>{linear_of(in_[0], in_[1], in_[2]),
                                           linear_of(in_[0], in_[1], Tensor())};
              },
              inputs);
        }
      }
    }
  }
}

TEST_CASE("layer_norm_step is layer_norm, in place as well", "[ops][stepping]") {
  Generator generator(6);
  for (const std::int64_t n : {2, 37, 256, 257, 1000}) {
    const Tensor x = random_tensor({3, n}, DType::f32, generator, 2, 4);
    const Tensor weight = random_tensor({n}, DType::f32, generator);
    const Tensor bias = random_tensor({n}, DType::f32, generator);
    const Tensor expected = layer_norm(Variable(x), Variable(weight), Variable(bias)).value();
    Tensor y = empty_like(x);
    layer_norm_step(x, weight, bias, y);
    INFO("n = " << n);
    // Two elements can lie close to each other, and roundings of their mean count for more.
    REQUIRE(max_relative_error(y, expected) < (n < 17 ? 1e-3 : kTolerance));
    Tensor in_place = x.clone();
    layer_norm_step(in_place, weight, bias, in_place);
    REQUIRE(same_bits(in_place, y));
    Tensor alone = empty_like(x.narrow(2, 1));
    layer_norm_step(x.narrow(2, 1), weight, bias, alone);
    REQUIRE(same_bits(alone, y.narrow(2, 1)));
  }
}

TEST_CASE("embedding_step takes rows, for more streams than a launch takes along",
          "[ops][stepping]") {
  Generator generator(7);
  for (const std::int64_t d : {1, 300}) {
    for (const std::int64_t streams : {1, 3, 257, 520}) {
      const Tensor weight = random_tensor({11, d}, DType::f32, generator);
      Tensor ids = Tensor::empty({streams}, DType::i32);
      for (std::int64_t s = 0; s < streams; ++s) {
        ids.data<std::int32_t>()[s] = static_cast<std::int32_t>(s * 7 % 11);
      }
      Tensor y = Tensor::empty({streams, d}, DType::f32, weight.device());
      embedding_step(ids, weight, y);
      INFO("d = " << d << ", " << streams << " streams");
      for (const std::int64_t s : {std::int64_t{0}, streams / 2, streams - 1}) {
        REQUIRE(same_bits(y[s], weight[s * 7 % 11]));
      }
    }
  }
}

TEST_CASE("add_scaled_step adds, in place as well", "[ops][stepping]") {
  Generator generator(8);
  const Tensor alpha = tensor_of<float>({0.5F}, {1});
  const Tensor a = tensor_of<float>({1, 2, 3}, {1, 3});
  Tensor b = tensor_of<float>({10, -4, 0}, {1, 3});
  add_scaled_step(a, alpha, b, b);
  REQUIRE(same_bits(b, Tensor::from<float>({6, 0, 3}, {1, 3})));
}

TEST_CASE("add_gelu_chunks_step adds up the chunks of every stream", "[ops][stepping]") {
  Generator generator(11);
  for (const std::int64_t size : {1, 37, 300}) {
    for (const std::int64_t chunks : {1, 4}) {
      INFO(chunks << " chunks of " << size);
      const Tensor x = random_tensor({2, chunks * size}, DType::f32, generator, -3, 3);
      const Tensor before = random_tensor({2, size}, DType::f32, generator);
      Tensor y = before.clone();
      add_gelu_chunks_step(x, y);
      const Tensor gelus = on_cpu(gelu(Variable(x)).value());
      Tensor expected = on_cpu(before).clone();
      for (std::int64_t s = 0; s < 2; ++s) {
        for (std::int64_t c = 0; c < chunks; ++c) {
          for (std::int64_t i = 0; i < size; ++i) {
            expected.data<float>()[s * size + i] +=
                gelus.data<float>()[(s * chunks + c) * size + i];
          }
        }
      }
      REQUIRE(max_relative_error(y, expected) < kTolerance);
    }
  }
}

TEST_CASE("sru_step is a scan of one step", "[ops][stepping]") {
  Generator generator(9);
  for (const Activation activation : {Activation::identity, Activation::tanh}) {
    for (const int planes : {3, 4}) {
      for (const bool has_skip_term : {true, false}) {
        for (const std::int64_t units : {1, 37, 130}) {
          if (planes == 4 && !has_skip_term) {
            continue;
          }
          INFO("tanh " << (activation == Activation::tanh) << ", skip term " << has_skip_term
                       << ", " << planes << " planes of " << units);
          const std::int64_t streams = 3;
          SruScanOptions options;
          options.activation = activation;
          options.has_skip_term = has_skip_term;
          options.scale_x = 1.7;
          const auto draw = [&](const Shape& shape) {
            return random_tensor(shape, DType::f32, generator, -2, 2);
          };
          const Tensor u = draw({streams, planes * units});
          const Tensor x = planes == 3 && has_skip_term ? draw({streams, units}) : Tensor();
          const Tensor weight = draw({2 * units});
          const Tensor bias = draw({2 * units});
          Tensor c = draw({streams, units});
          SruScanInputs inputs;
          inputs.u = Variable(u.reshape({1, streams, planes * units}));
          inputs.x = x.defined() ? Variable(x.reshape({1, streams, units})) : Variable();
          inputs.weight_c = Variable(weight);
          inputs.bias = Variable(bias);
          inputs.c0 = Variable(c.clone());
          const SruScanOutputs expected = sru_scan(inputs, options);
          Tensor h = empty_like(c);
          sru_step(u, x, weight, bias, options, c, h);
          REQUIRE(max_relative_error(c, expected.c_last.value()) < kTolerance);
          REQUIRE(max_relative_error(h.reshape({1, streams, units}), expected.h.value()) <
                  kTolerance);
        }
      }
    }
  }
}

TEST_CASE("other steps on a GPU give what the CPU gives", "[ops][stepping][gpu]") {
  Generator generator(10);
  for (const std::int64_t streams : {1, 5}) {
    for (const std::int64_t n : {1, 3, 32, 255, 513}) {
      for (const bool offset : {false, true}) {
        INFO(streams << " streams of " << n << ", offset " << offset);
        const auto draw = [&](const Shape& shape) {
          return random_tensor(shape, DType::f32, generator, -2, 2, offset);
        };
        require_agreement(
            [](std::span<const Tensor> in) {
              Tensor y = empty_like(in[0]);
              layer_norm_step(in[0], in[1], in[2], y, 0.1);
              Tensor sum = empty_like(in[0]);
              add_scaled_step(in[0], in[4], in[3], sum);
              return std::vector<Tensor>{y, sum};
            },
            {draw({streams, n}), draw({n}), draw({n}), draw({streams, n}), draw({1})});
        require_agreement(
            [](std::span<const Tensor> in) {
              Tensor h = empty_like(in[2]);
              Tensor c = in[2].clone();
              lstm_step(in[0], in[1], h, c);
              return std::vector<Tensor>{h, c};
            },
            {draw({streams, 4 * n}), draw({streams, 4 * n}), draw({streams, n})});
        require_agreement(
            [](std::span<const Tensor> in) {
              Tensor y = in[1].clone();
              add_gelu_chunks_step(in[0], y);
              return std::vector<Tensor>{y};
            },
            {draw({streams, 3 * n}), draw({streams, n})});
        for (const Activation activation : {Activation::identity, Activation::tanh}) {
          for (const bool has_skip_term : {true, false}) {
            SruScanOptions options;
            options.activation = activation;
            options.has_skip_term = has_skip_term;
            options.scale_x = 0.6;
            require_agreement(
                [&](std::span<const Tensor> in) {
                  Tensor c = in[4].clone();
                  Tensor h = empty_like(c);
                  sru_step(in[0], in[1], in[2], in[3], options, c, h);
                  return std::vector<Tensor>{c, h};
                },
                {draw({streams, 3 * n}), draw({streams, n}), draw({2 * n}), draw({2 * n}),
                 draw({streams, n})});
          }
        }
      }
    }
  }
}

TEST_CASE("steps want their tensors on one device", "[ops][stepping][gpu]") {
  const Tensor weight = on_test_device(Tensor::zeros({5, 3}));
  Tensor y = on_test_device(Tensor::zeros({2, 5}));
  REQUIRE_THAT(error_of([&] {
                 linear_step(Tensor::zeros({2, 3}), weight, Tensor(), y);
               }),
               ContainsSubstring("on a GPU"));
  Tensor y_on_cpu = Tensor::zeros({2, 5});
  REQUIRE_THAT(error_of([&] {
                 linear_step(Tensor::zeros({2, 3}), weight, Tensor(), y_on_cpu);
               }),
               ContainsSubstring("CPU"));
}

TEST_CASE("an attention cache attends to the last positions", "[ops][stepping]") {
  Generator generator(3);
  // Pieces are of 64 positions on the CPU, and of 16 on a GPU.
  const bool on_gpu = test_device().is_cuda();
  const std::int64_t steps = on_gpu ? 60 : 200;
  const std::int64_t size = 12;
  for (const std::int64_t heads : {1, 3}) {
    for (const std::int64_t positions : on_gpu
                                            ? std::vector<std::int64_t>{1, 5, 16, 17, 40, 100}
                                            : std::vector<std::int64_t>{1, 5, 64, 65, 130, 300}) {
      INFO(heads << " heads, " << positions << " positions");
      const Variable q(random_tensor({steps, 2, size}, DType::f32, generator, -3, 3));
      const Variable kv(random_tensor({steps, 2, 2 * size}, DType::f32, generator, -3, 3));
      AttentionMask mask;
      mask.window = positions - 1;
      if (positions == 1) {  // a window of 0 would mean none
        Tensor additive = Tensor::full({steps, steps}, -1e9);
        for (std::int64_t t = 0; t < steps; ++t) {
          additive.data<float>()[t * steps + t] = 0.0F;
        }
        mask.additive = on_test_device(additive);
      }
      AttentionOptions options;
      options.num_heads = heads;
      const Tensor expected = on_cpu(attention(q, kv, mask, options).value());
      AttentionCache cache(2, size, heads, positions, test_device());
      Tensor out = Tensor::empty({2, size}, DType::f32, test_device());
      for (std::int64_t t = 0; t < steps; ++t) {
        cache.append(kv.value()[t]);
        cache.attend(q.value()[t], out);
        INFO("position " << t);
        REQUIRE(max_relative_error(out, expected[t]) < kTolerance);
      }
      // Filled at once, then replaced: the same as having come so far one by one.
      const std::int64_t kept = std::min(positions, steps);
      cache.fill(kv.value().narrow(steps - kept, kept));
      cache.attend(q.value()[steps - 1], out);
      REQUIRE(max_relative_error(out, expected[steps - 1]) < kTolerance);
      cache.replace_newest(kv.value()[0]);
      cache.replace_newest(kv.value()[steps - 1]);
      cache.attend(q.value()[steps - 1], out);
      REQUIRE(max_relative_error(out, expected[steps - 1]) < kTolerance);
    }
  }
}

TEST_CASE("an attention cache on a GPU gives what one on the CPU gives", "[ops][stepping][gpu]") {
  Generator generator(11);
  // Heads of less than a vector, of more than a group of 128, and of more columns than threads.
  for (const std::int64_t head_size : {1, 3, 8, 66, 132, 300}) {
    for (const std::int64_t heads : {1, 4}) {
      for (const std::int64_t positions : {1, 3, 16, 17, 50}) {
        for (const bool offset : {false, true}) {
          const std::int64_t streams = heads == 1 ? 3 : 2;
          const std::int64_t size = heads * head_size;
          INFO(heads << " heads of " << head_size << ", " << positions << " positions, offset "
                     << offset);
          const auto draw = [&](const Shape& shape) {
            return random_tensor(shape, DType::f32, generator, -1, 1, offset);
          };
          require_agreement(
              [&](std::span<const Tensor> in) {
                AttentionCache cache(streams, size, heads, positions, in[0].device());
                std::vector<Tensor> results;
                const auto attend = [&] {
                  Tensor out = empty_like(in[0]);
                  cache.attend(in[0], out);
                  results.push_back(out);
                };
                cache.fill(in[1]);  // the same for every stream
                attend();
                cache.append(in[3]);
                attend();
                cache.replace_newest(in[4]);
                cache.append(in[3]);
                attend();
                cache.fill(in[2]);
                attend();
                return results;
              },
              {draw({streams, size}), draw({std::max<std::int64_t>(1, positions / 2), 1, 2 * size}),
               draw({positions, streams, 2 * size}), draw({streams, 2 * size}),
               draw({streams, 2 * size})});
        }
      }
    }
  }
}

TEST_CASE("an attention cache gives a stream the same bits beside any others", "[ops][stepping]") {
  Generator generator(12);
  const Tensor q = random_tensor({3, 24}, DType::f32, generator);
  const Tensor kv = random_tensor({30, 3, 48}, DType::f32, generator);
  AttentionCache together(3, 24, 2, 30, test_device());
  AttentionCache alone(1, 24, 2, 30, test_device());
  for (std::int64_t t = 0; t < kv.size(0); ++t) {
    together.append(kv[t]);
    alone.append(kv[t].narrow(2, 1));
  }
  Tensor out = empty_like(q);
  Tensor one = empty_like(q.narrow(2, 1));
  together.attend(q, out);
  alone.attend(q.narrow(2, 1), one);
  REQUIRE(same_bits(one, out.narrow(2, 1)));
}

TEST_CASE("an attention cache explains what it cannot use", "[ops][stepping]") {
  REQUIRE_THAT(error_of([] { AttentionCache(1, 5, 2, 3); }),
               ContainsSubstring("size 5 in 2 heads"));
  AttentionCache cache(2, 4, 1, 3);
  Tensor out = Tensor::empty({2, 4});
  REQUIRE_THAT(error_of([&] {
                 cache.attend(Tensor::zeros({2, 4}), out);
               }),
               ContainsSubstring("no position yet"));
  REQUIRE_THAT(error_of([&] {
                 cache.append(Tensor::zeros({2, 4}));
               }),
               ContainsSubstring("kv has shape [2, 4]; expected [2, 8]"));
  REQUIRE_THAT(error_of([&] {
                 cache.fill(Tensor::zeros({4, 2, 8}));
               }),
               ContainsSubstring("M at most 3"));
}

TEST_CASE("a bidirectional layer cannot be stepped", "[ops][stepping]") {
  Tensor c = Tensor::zeros({1, 4});
  Tensor h = Tensor::zeros({1, 4});
  SruScanOptions options;
  options.bidirectional = true;
  REQUIRE_THAT(error_of([&] {
                 sru_step(Tensor::zeros({1, 12}), Tensor::zeros({1, 4}), Tensor::zeros({8}),
                          Tensor::zeros({8}), options, c, h);
               }),
               ContainsSubstring("bidirectional"));
}
