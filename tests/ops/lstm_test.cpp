#include "ops/lstm.h"

#include <cmath>
#include <limits>

#include "ops/cpu/lstm.h"
#include "ops/linear.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

struct Sizes {
  std::int64_t steps, batch, in, units;
};

LstmInputs inputs_of(std::span<const Variable> in) {
  return {in[0], in[1], in[2], in[3], in[4], in[5]};
}

std::vector<Variable> outputs_of(const LstmOutputs& out) { return {out.h, out.h_last, out.c_last}; }

std::vector<Variable> run(std::span<const Variable> in) { return outputs_of(lstm(inputs_of(in))); }

// Our own kernels where cuDNN would be taken.
std::vector<Variable> run_own(std::span<const Variable> in) {
  return outputs_of(lstm(inputs_of(in), Precision::f32, LstmKernels::own));
}

// In the order of LstmInputs.
std::vector<Variable> parameters(const Sizes& sizes, DType dtype, Generator& generator,
                                 bool offset = false) {
  const auto [steps, batch, in, units] = sizes;
  const auto make = [&](const Shape& shape) {
    return random_parameter(shape, dtype, generator, -1.0, 1.0, offset);
  };
  return {make({steps, batch, in}), make({4 * units, in}), make({4 * units, units}),
          make({4 * units}),        make({batch, units}),  make({batch, units})};
}

// sin(factor), sin(2 factor), ...
Tensor sines(const Shape& shape, double factor) {
  Tensor values = Tensor::empty(shape, DType::f64);
  double i = 0.0;
  for (double& value : values.values<double>()) {
    value = std::sin(factor * ++i);
  }
  return on_test_device(values);
}

// The sum of grad times sin(1), sin(2), ...: one number that every element counts for.
double weighed(const Tensor& grad) {
  const Tensor on_host = on_cpu(grad);
  double sum = 0.0;
  double i = 0.0;
  for (const double value : on_host.values<double>()) {
    sum += value * std::sin(++i);
  }
  return sum;
}

}  // namespace

// layer = torch.nn.LSTM(3, 2) in f64, with fill(n, a) = torch.sin(a * torch.arange(1, n + 1)):
// weight_ih_l0 = fill(24, 1), weight_hh_l0 = fill(16, 2), bias_ih_l0 = fill(8, 3), bias_hh_l0 = 0;
// x = fill(18, 0.5), h0 = fill(4, 0.7), c0 = fill(4, 0.9); y, (_, c) = layer(x, (h0, c0));
// ((y * fill(12, 1.1)).sum() + (c * fill(4, 1.3)).sum()).backward(); of the gradients, each
// (grad * fill(n, 1)).sum()
TEST_CASE("lstm gives PyTorch's numbers", "[ops][lstm]") {
  const auto leaf = [](const Shape& shape, double factor) {
    return Variable(sines(shape, factor), true);
  };
  const std::vector<Variable> in = {leaf({3, 2, 3}, 0.5), leaf({8, 3}, 1.0), leaf({8, 2}, 2.0),
                                    leaf({8}, 3.0),       leaf({2, 2}, 0.7), leaf({2, 2}, 0.9)};
  const std::vector<Variable> out = run(in);
  const Tensor h = Tensor::from<double>(
      {0.8452416815127268, -0.00984054189874892, 0.7292089127902686, -0.02872988460504842,
       -0.06855001657686977, 0.14187677746603394, -0.04196206267304289, 0.01451067564251309,
       0.46622166310328883, -0.019196075104117014, 0.5676479888639854, -0.015792904072089203},
      {3, 2, 2});
  const Tensor c = Tensor::from<double>(
      {0.5706998309311692, -0.18902086366043896, 0.7618275060737869, -0.12347087112060307}, {2, 2});
  REQUIRE(max_relative_error(out[0].value(), h) < 1e-14);
  REQUIRE(same_bits(out[1].value(), out[0].value()[2]));
  REQUIRE(max_relative_error(out[2].value(), c) < 1e-14);

  backward(out[0], sines({3, 2, 2}, 1.1));
  backward(run(in)[2], sines({2, 2}, 1.3));
  const double expected[] = {0.9688143307357275,  0.048709506500689906,  0.013994853168826718,
                             0.07182722324368801, -0.021798874652437124, 0.14905980391872897};
  for (std::size_t i = 0; i < in.size(); ++i) {
    INFO("gradient of input " << i);
    REQUIRE(std::abs(weighed(in[i].grad()) - expected[i]) < 1e-13);
  }
}

TEST_CASE("lstm has the right gradients", "[ops][lstm][gradient]") {
  Generator generator(1);
  for (const Sizes& sizes : {Sizes{1, 1, 1, 1}, Sizes{3, 2, 3, 5}, Sizes{2, 3, 4, 17}}) {
    for (const bool offset : {false, true}) {
      INFO("units " << sizes.units << ", offset " << offset);
      require_gradients(run, parameters(sizes, DType::f64, generator, offset));
    }
  }
  std::vector<Variable> from_zeros = parameters({3, 2, 3, 2}, DType::f64, generator);
  from_zeros.resize(4);
  require_gradients(
      [](std::span<const Variable> in) {
        return outputs_of(lstm({in[0], in[1], in[2], in[3], Variable(), Variable()}));
      },
      from_zeros);
}

TEST_CASE("only the gradients that are wanted are computed", "[ops][lstm]") {
  Generator generator(2);
  const std::vector<Variable> all = parameters({3, 2, 3, 4}, DType::f64, generator);
  for (std::size_t wanted = 0; wanted < all.size(); ++wanted) {
    INFO("input " << wanted);
    std::vector<Variable> in = all;
    for (std::size_t i = 0; i < in.size(); ++i) {
      in[i] = Variable(in[i].value(), i == wanted);
    }
    backward(run(in)[0], Tensor::full({3, 2, 4}, 1.0, DType::f64, test_device()));
    std::vector<Variable> again;
    for (const Variable& variable : all) {
      again.emplace_back(variable.value(), true);
    }
    backward(run(again)[0], Tensor::full({3, 2, 4}, 1.0, DType::f64, test_device()));
    for (std::size_t i = 0; i < in.size(); ++i) {
      REQUIRE(in[i].grad().defined() == (i == wanted));
    }
    REQUIRE(same_bits(in[wanted].grad(), again[wanted].grad()));
  }
}

TEST_CASE("lstm agrees between f32 and f64", "[ops][lstm]") {
  Generator generator(3);
  // The last splits the units of a row over threads on the CPU and over blocks on a GPU.
  for (const Sizes& sizes :
       {Sizes{1, 1, 1, 1}, Sizes{4, 3, 5, 7}, Sizes{3, 2, 16, 33}, Sizes{2, 3, 2, 700}}) {
    for (const bool offset : {false, true}) {
      INFO("units " << sizes.units << ", offset " << offset);
      const std::vector<Variable> narrow = parameters(sizes, DType::f32, generator, offset);
      std::vector<Variable> wide;
      for (const Variable& variable : narrow) {
        wide.emplace_back(variable.value().to(DType::f64), true);
      }
      const std::vector<Variable> found = run_own(narrow);
      const std::vector<Variable> expected = run_own(wide);
      const Tensor grad = random_tensor(found[0].shape(), DType::f32, generator);
      backward(found[0], grad);
      backward(expected[0], grad.to(DType::f64));
      for (std::size_t i = 0; i < found.size(); ++i) {
        REQUIRE(max_relative_error(found[i].value(), expected[i].value()) < 2e-5);
      }
      for (std::size_t i = 0; i < narrow.size(); ++i) {
        INFO("gradient of input " << i);
        REQUIRE(max_relative_error(narrow[i].grad(), wide[i].grad()) < 5e-5);
      }
    }
  }
}

TEST_CASE("a sequence in pieces gives what the whole gives", "[ops][lstm]") {
  Generator generator(4);
  const std::vector<Variable> in = parameters({7, 2, 3, 5}, DType::f64, generator);
  const std::vector<Variable> whole = run(in);
  for (const std::int64_t cut : {1, 3, 6}) {
    INFO("cut after " << cut);
    std::vector<Variable> piece = in;
    piece[0] = Variable(in[0].value().narrow(0, cut));
    const std::vector<Variable> first = run(piece);
    piece[0] = Variable(in[0].value().narrow(cut, 7 - cut));
    piece[4] = first[1];
    piece[5] = first[2];
    const std::vector<Variable> second = run(piece);
    // Products of other shapes may sum in another order.
    REQUIRE(max_relative_error(first[0].value(), whole[0].value().narrow(0, cut)) < 1e-14);
    REQUIRE(max_relative_error(second[0].value(), whole[0].value().narrow(cut, 7 - cut)) < 1e-14);
    REQUIRE(max_relative_error(second[1].value(), whole[1].value()) < 1e-14);
    REQUIRE(max_relative_error(second[2].value(), whole[2].value()) < 1e-14);
  }
}

TEST_CASE("lstm gives the same bits with and without a gradient, and with any threads",
          "[ops][lstm]") {
  Generator generator(5);
  const std::vector<Variable> in = parameters({3, 3, 20, 500}, DType::f32, generator);
  const Tensor grad = random_tensor({3, 3, 500}, DType::f32, generator);
  std::vector<Tensor> first;
  for_thread_counts([&] {
    std::vector<Tensor> all;
    std::vector<Variable> leaves;
    for (const Variable& variable : in) {
      leaves.emplace_back(variable.value(), true);
    }
    const std::vector<Variable> out = run_own(leaves);
    for (const Variable& output : out) {
      all.push_back(output.value());
    }
    backward(out[0], grad);
    for (const Variable& leaf : leaves) {
      all.push_back(leaf.grad());
    }
    const NoGradGuard no_grad;
    const std::vector<Variable> plain = run_own(in);
    for (std::size_t i = 0; i < plain.size(); ++i) {
      REQUIRE(same_bits(plain[i].value(), all[i]));
    }
    for (std::size_t i = 0; i < first.size(); ++i) {
      INFO("tensor " << i);
      REQUIRE(same_bits(all[i], first[i]));
    }
    first = all;
  });
}

TEST_CASE("the state that was given stays as it was", "[ops][lstm]") {
  Generator generator(6);
  const std::vector<Variable> in = parameters({3, 2, 3, 4}, DType::f64, generator);
  const Tensor h0 = in[4].value().clone();
  const Tensor c0 = in[5].value().clone();
  backward(run(in)[0], Tensor::full({3, 2, 4}, 1.0, DType::f64, test_device()));
  REQUIRE(same_bits(in[4].value(), h0));
  REQUIRE(same_bits(in[5].value(), c0));
}

TEST_CASE("bf16 rounds what the products of lstm read", "[ops][lstm][cpu]") {
  Generator generator(7);
  const std::vector<Variable> in = parameters({4, 3, 9, 11}, DType::f32, generator);
  const Tensor exact = lstm(inputs_of(in)).h.value();
  const LstmOutputs rounded = lstm(inputs_of(in), Precision::bf16);
  const double error = max_relative_error(rounded.h.value(), exact);
  REQUIRE(error > 1e-5);
  REQUIRE(error < 0.05);
  backward(rounded.h, Tensor::full({4, 3, 11}, 1.0));
  REQUIRE(in[2].grad().defined());
}

TEST_CASE("vectors of the LSTM step agree with plain numbers", "[ops][lstm][cpu]") {
  Generator generator(8);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::int64_t n : {1, 3, 16, 37}) {
    Tensor raw = random_tensor({4 * n}, DType::f32, generator, -12.0, 12.0);
    const Tensor bias = random_tensor({4 * n}, DType::f32, generator);
    Tensor c = random_tensor({n}, DType::f32, generator, -3.0, 3.0);
    Tensor h = Tensor::empty({n});
    Tensor wide_c = c.to(DType::f64);
    Tensor wide_h = Tensor::empty({n}, DType::f64);
    Tensor wide_gates = Tensor::empty({4 * n}, DType::f64);
    const Tensor wide_raw = raw.to(DType::f64);
    const Tensor wide_bias = bias.to(DType::f64);
    cpu::lstm_forward_row(
        cpu::LstmForwardRow<double>{n, wide_raw.data<double>(), wide_bias.data<double>(),
                                    wide_gates.data<double>(), wide_c.data<double>(), nullptr,
                                    wide_h.data<double>()},
        n);
    cpu::lstm_forward_row(
        cpu::LstmForwardRow<float>{n, raw.data<float>(), bias.data<float>(), raw.data<float>(),
                                   c.data<float>(), nullptr, h.data<float>()},
        n);
    REQUIRE(max_relative_error(raw, wide_gates) < 1e-6);
    REQUIRE(max_relative_error(c, wide_c) < 1e-6);
    REQUIRE(max_relative_error(h, wide_h) < 1e-6);

    raw.fill(nan);
    cpu::lstm_forward_row(
        cpu::LstmForwardRow<float>{n, raw.data<float>(), bias.data<float>(), nullptr,
                                   c.data<float>(), nullptr, h.data<float>()},
        n);
    REQUIRE(std::isnan(h.data<float>()[n - 1]));
    REQUIRE(std::isnan(c.data<float>()[0]));
  }
}

TEST_CASE("a step of the LSTM is a sequence of one", "[ops][lstm]") {
  Generator generator(9);
  const std::vector<Variable> in = parameters({1, 3, 4, 19}, DType::f32, generator);
  const std::vector<Variable> expected = run_own(in);
  const Tensor x = in[0].value()[0];
  Tensor h = in[4].value().clone();
  Tensor c = in[5].value().clone();
  const Tensor of_x = linear(Variable(x), in[1], in[3]).value();
  const Tensor of_h = linear(Variable(h), in[2]).value();
  lstm_step(of_x, of_h, h, c);
  REQUIRE(max_relative_error(h, expected[1].value()) < 2e-6);
  REQUIRE(max_relative_error(c, expected[2].value()) < 2e-6);
}

TEST_CASE("lstm explains what does not fit", "[ops][lstm]") {
  Generator generator(10);
  const LstmInputs good = inputs_of(parameters({2, 3, 4, 5}, DType::f32, generator));
  const auto error_with = [&](const auto& change) {
    LstmInputs bad = good;
    change(bad);
    return error_of([&] { lstm(bad); });
  };
  const auto make = [&](const Shape& shape, DType dtype = DType::f32) {
    return random_parameter(shape, dtype, generator);
  };
  REQUIRE(error_with([&](LstmInputs& in) {
            in.x = make({3, 4});
          }) == "[lstm] x must have shape (T, B, d) with T and B at least 1, found [3, 4]");
  REQUIRE_THAT(error_with([&](LstmInputs& in) {
                 in.x = make({0, 3, 4});
               }),
               ContainsSubstring("T and B at least 1"));
  REQUIRE(error_with([&](LstmInputs& in) { in.bias = make({18}); }) ==
          "[lstm] bias must have shape (4*D), found [18]");
  REQUIRE(error_with([&](LstmInputs& in) {
            in.weight_ih = make({20, 3});
          }) == "[lstm] weight_ih has shape [20, 3]; expected [20, 4]");
  REQUIRE(error_with([&](LstmInputs& in) { in.weight_hh = Variable(); }) ==
          "[lstm] weight_hh is missing");
  REQUIRE(error_with([&](LstmInputs& in) {
            in.h0 = make({2, 5});
          }) == "[lstm] h0 has shape [2, 5]; expected [3, 5]");
  REQUIRE_THAT(error_with([&](LstmInputs& in) {
                 in.c0 = make({3, 5}, DType::f64);
               }),
               ContainsSubstring("[lstm] c0") && ContainsSubstring("f64"));
}

TEST_CASE("an LSTM layer on a GPU agrees with the CPU", "[ops][lstm][gpu]") {
  Generator generator(11);
  // Units within one block of threads, over several, and a last block that is not full.
  for (const Sizes& sizes : {Sizes{1, 1, 1, 1}, Sizes{3, 2, 5, 7}, Sizes{2, 3, 9, 43},
                             Sizes{2, 2, 16, 64}, Sizes{3, 5, 8, 60}}) {
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      for (const bool offset : {false, true}) {
        INFO("units " << sizes.units << ", " << name(type) << ", offset " << offset);
        std::vector<Tensor> in;
        for (const Variable& variable : parameters(sizes, DType::f32, generator, offset)) {
          in.push_back(variable.value());
        }
        // Weights as small as those of a layer in training, so that halves keep what sums give.
        for (const std::size_t weight : {1, 2}) {
          fill_uniform(in[weight], -0.3, 0.3, generator);
        }
        require_devices_agree(run_own, {in[0]}, {in[1], in[2], in[3], in[4], in[5]}, type,
                              type == DType::f32 ? 1e-5 : 2e-2);
      }
    }
  }
}

TEST_CASE("cuDNN's LSTM layer agrees with our own", "[ops][lstm][gpu]") {
  Generator generator(12);
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    if (!lstm_uses_cudnn(type, test_device())) {
      WARN("skipped: no cuDNN that knows " << name(type));
      continue;
    }
    for (const Sizes& sizes : {Sizes{1, 1, 1, 1}, Sizes{3, 2, 5, 7}, Sizes{20, 8, 64, 128}}) {
      for (const bool with_state : {false, true}) {
        INFO("units " << sizes.units << ", " << name(type) << ", state " << with_state);
        std::vector<Variable> leaves = parameters(sizes, DType::f32, generator);
        leaves[0] = Variable(leaves[0].value().to(type).clone(), true);
        for (const std::size_t weight : {1, 2}) {
          fill_uniform(leaves[weight].value(), -0.3, 0.3, generator);
        }
        if (!with_state) {
          leaves[4] = leaves[5] = Variable();
        }
        // Outputs, then gradients of every input from every output.
        const auto everything = [&](const auto& layer) {
          std::vector<Tensor> all;
          for (std::size_t i = 0; i < 3; ++i) {
            const std::vector<Variable> out = layer(leaves);
            all.push_back(out[i].value());
            Tensor grad = Tensor::full(out[i].shape(), 0.5, out[i].dtype(), test_device());
            backward(out[i], grad);
          }
          for (Variable& leaf : leaves) {
            if (leaf.defined()) {
              all.push_back(leaf.grad());
              leaf.zero_grad();
            }
          }
          return all;
        };
        const std::vector<Tensor> expected = everything(run_own);
        const std::vector<Tensor> found = everything(run);
        for (std::size_t i = 0; i < found.size(); ++i) {
          INFO("tensor " << i);
          // Each rounds to a half type at other points.
          REQUIRE(max_relative_error(found[i], expected[i]) < (type == DType::f32 ? 1e-5 : 3e-2));
        }
        const NoGradGuard no_grad;
        REQUIRE(max_relative_error(run(leaves)[0].value(), expected[0]) <
                (type == DType::f32 ? 1e-5 : 3e-2));
      }
    }
  }
}
