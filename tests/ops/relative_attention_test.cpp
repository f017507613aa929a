#include "ops/relative_attention.h"

#include <cmath>

#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// q, kv, r, u, v, in the order of the operation's inputs.
using Inputs = std::vector<Variable>;

Variable attend(std::span<const Variable> in, std::int64_t window,
                const AttentionOptions& options) {
  return relative_attention({in[0], in[1], in[2], in[3], in[4]}, window, options);
}

// Written out for one element after the other, in f64: the specification.
Tensor reference(const Inputs& in, std::int64_t window, std::int64_t heads) {
  const Tensor q = on_cpu(in[0].value());
  const Tensor kv = on_cpu(in[1].value());
  const Tensor r = on_cpu(in[2].value());
  const Tensor u = on_cpu(in[3].value()).reshape({q.size(2)});
  const Tensor v = on_cpu(in[4].value()).reshape({q.size(2)});
  const std::int64_t queries = q.size(0);
  const std::int64_t size = q.size(2);
  const std::int64_t context = kv.size(0);
  const std::int64_t head_size = size / heads;
  Tensor out = Tensor::zeros(q.shape(), DType::f64);
  for (std::int64_t b = 0; b < q.size(1); ++b) {
    for (std::int64_t column = 0; column < size; column += head_size) {
      for (std::int64_t i = 0; i < queries; ++i) {
        const std::int64_t position = context - queries + i;
        const std::int64_t first = window > 0 ? std::max<std::int64_t>(0, position - window) : 0;
        std::vector<double> weight(static_cast<std::size_t>(context), 0.0);
        double sum = 0.0;
        for (std::int64_t j = first; j <= position; ++j) {
          const Tensor distance = r[r.size(0) - 1 - (position - j)];
          double score = 0.0;
          for (std::int64_t e = column; e < column + head_size; ++e) {
            const double query = q[i][b].data<double>()[e];
            score += (query + u.data<double>()[e]) * kv[j][b].data<double>()[e] +
                     (query + v.data<double>()[e]) * distance.data<double>()[e];
          }
          score /= std::sqrt(static_cast<double>(head_size));
          sum += weight[static_cast<std::size_t>(j)] = std::exp(score);
        }
        for (std::int64_t j = first; j <= position; ++j) {
          for (std::int64_t e = column; e < column + head_size; ++e) {
            out[i][b].data<double>()[e] +=
                weight[static_cast<std::size_t>(j)] / sum * kv[j][b].data<double>()[size + e];
          }
        }
      }
    }
  }
  return out;
}

struct Case {
  std::int64_t queries, memory, batch, size, heads;
  std::int64_t window = 0;
  std::int64_t spare = 0;  // distances in r that nobody sees

  std::int64_t distances() const {
    return (window > 0 ? std::min(window + 1, memory + queries) : memory + queries) + spare;
  }
};

const std::vector<Case> kCases = {
    {1, 0, 1, 1, 1},    {3, 0, 2, 3, 3},       {17, 5, 1, 4, 2, 5},   {4, 17, 3, 6, 1},
    {5, 3, 2, 4, 2, 1}, {3, 9, 2, 3, 1, 4, 3}, {1, 6, 5, 2, 1, 0, 2}, {9, 20, 1, 2, 2, 12},
};

Inputs inputs_of(const Case& c, DType dtype, Generator& generator, bool offset = false) {
  const std::int64_t context = c.memory + c.queries;
  const auto make = [&](const Shape& shape) {
    return random_parameter(shape, dtype, generator, -1, 1, offset);
  };
  return {make({c.queries, c.batch, c.size}), make({context, c.batch, 2 * c.size}),
          make({c.distances(), c.size}), make({c.heads, c.size / c.heads}),
          make({c.heads, c.size / c.heads})};
}

Inputs as(DType dtype, const Inputs& inputs) {
  Inputs result;
  for (const Variable& input : inputs) {
    result.emplace_back(input.value().to(dtype), true);
  }
  return result;
}

}  // namespace

TEST_CASE("relative attention follows its definition", "[ops][relative_attention]") {
  Generator generator(31);
  std::vector<Case> cases = kCases;
  cases.push_back({130, 70, 2, 8, 2, 65});  // several blocks of queries
  cases.push_back({257, 9, 1, 2, 1});
  cases.push_back({128, 300, 1, 2, 1, 150, 40});
  for (const Case& c : cases) {
    for (const bool offset : {false, true}) {
      INFO("queries " << c.queries << " memory " << c.memory << " heads " << c.heads);
      const Inputs in = inputs_of(c, DType::f64, generator, offset);
      const Tensor expected = reference(in, c.window, c.heads);
      for_thread_counts([&] {
        REQUIRE(max_relative_error(attend(in, c.window, {c.heads}).value(), expected) < 1e-13);
        const NoGradGuard no_grad;
        REQUIRE(max_relative_error(attend(as(DType::f32, in), c.window, {c.heads}).value(),
                                   expected) < 3e-6);
      });
    }
  }
}

TEST_CASE("relative attention has the right gradients", "[ops][relative_attention][gradient]") {
  Generator generator(32);
  for (const Case& c : kCases) {
    for (const double dropout : {0.0, 0.4}) {
      INFO("queries " << c.queries << " memory " << c.memory << " heads " << c.heads);
      require_gradients(
          [&](std::span<const Variable> in) {
            Generator same(5);  // the same dropout in every evaluation
            return Inputs{attend(in, c.window, {c.heads, dropout, &same})};
          },
          inputs_of(c, DType::f64, generator, true));
    }
  }
}

TEST_CASE("relative attention gradients in f32 follow f64 over several blocks",
          "[ops][relative_attention]") {
  Generator generator(33);
  const Case c{150, 80, 3, 12, 3, 90};
  const Inputs narrow = inputs_of(c, DType::f32, generator);
  const Inputs wide = as(DType::f64, narrow);
  const auto run = [&](const Inputs& in) {
    Generator same(6);
    const Variable out = attend(in, c.window, {c.heads, 0.3, &same});
    backward(out, Tensor::full(out.shape(), 1.0, out.dtype(), out.device()));
    return out.value();
  };
  REQUIRE(max_relative_error(run(narrow), run(wide)) < 3e-6);
  for (std::size_t i = 0; i < narrow.size(); ++i) {
    INFO("input " << i);
    REQUIRE(max_relative_error(narrow[i].grad(), wide[i].grad()) < 3e-5);
  }
}

TEST_CASE("relative attention gives the same bits with any number of threads",
          "[ops][relative_attention][cpu]") {
  Generator generator(34);
  // More tasks than threads, and one head of one text, whose products take all threads.
  for (const Case& c : {Case{140, 60, 5, 12, 3, 70}, Case{140, 60, 20, 4, 1}}) {
    const Inputs in = inputs_of(c, DType::f32, generator);
    const Tensor grad = random_tensor(in[0].shape(), DType::f32, generator);
    std::vector<std::vector<Tensor>> runs;
    for_thread_counts([&] {
      Generator same(7);
      std::vector<Tensor> results;
      for (Variable input : in) {
        input.zero_grad();
      }
      const Variable out = attend(in, c.window, {c.heads, 0.2, &same});
      backward(out, grad);
      results.push_back(out.value());
      for (const Variable& input : in) {
        results.push_back(input.grad().clone());
      }
      runs.push_back(results);
    });
    REQUIRE(runs.size() >= 2);
    for (std::size_t i = 0; i < runs[0].size(); ++i) {
      INFO("result " << i);
      REQUIRE(same_bits(runs[0][i], runs[1][i]));
    }
  }
}

TEST_CASE("relative attention never touches what lies after a query", "[ops][relative_attention]") {
  Generator generator(35);
  Inputs in = inputs_of({134, 0, 64, 2, 1}, DType::f32, generator);  // blocks of 128
  const auto first_block = [&] { return attend(in, 0, {}).value().narrow(0, 128).clone(); };
  const Tensor before = first_block();
  in[1].value().narrow(128, 6).fill(std::numeric_limits<double>::quiet_NaN());
  REQUIRE(same_bits(before, first_block()));
}

TEST_CASE("relative attention explains what does not fit", "[ops][relative_attention]") {
  Generator generator(36);
  const Case c{4, 2, 2, 6, 2};
  const auto error_with = [&](std::size_t index, const Shape& shape, std::int64_t window = 0) {
    Inputs in = inputs_of(c, DType::f32, generator);
    in[index] = random_parameter(shape, DType::f32, generator);
    return error_of([&] { attend(in, window, {c.heads}); });
  };
  REQUIRE(error_with(1, {3, 2, 12}) ==
          "[relative_attention] kv has shape [3, 2, 12]; expected (C, 2, 12) with C >= 4 for q "
          "[4, 2, 6]");
  REQUIRE(error_with(2, {5, 6}) ==
          "[relative_attention] r has shape [5, 6]; expected (D, 6) with D >= 6, the distances "
          "that queries see");
  REQUIRE_THAT(error_with(2, {3, 6}, 3), ContainsSubstring("with D >= 4"));
  REQUIRE(error_with(3, {6}) == "[relative_attention] u has shape [6]; expected [2, 3]");
  REQUIRE(error_with(4, {3, 2}) == "[relative_attention] v has shape [3, 2]; expected [2, 3]");
  const Inputs in = inputs_of(c, DType::f32, generator);
  REQUIRE_THAT(error_of([&] { attend(in, 0, {4}); }),
               ContainsSubstring("4 heads do not divide the size 6"));
  REQUIRE_THAT(error_of([&] {
                 attend(in, 0, {2, 0.5, nullptr});
               }),
               ContainsSubstring("needs a generator"));
}

namespace {

// As many cases as ways through the kernels: rows of one warp and of a block, and too long for one;
// one block of queries and several; windows, distances that nobody sees; both kinds of products.
const std::vector<Case> kGpuCases = {
    {1, 0, 1, 1, 1},     {37, 70, 2, 16, 2, 21},   {9, 6, 1, 8, 4, 4, 3}, {66, 650, 2, 8, 1},
    {150, 41, 32, 1, 1}, {600, 200, 1, 3, 1, 131}, {2, 8300, 1, 4, 1},
};

}  // namespace

TEST_CASE("relative attention on a GPU follows the CPU", "[ops][relative_attention][gpu]") {
  struct Limit {
    DType type;
    double tolerance;
  };
  Generator generator(37);
  for (const Case& c : kGpuCases) {
    const Inputs in = inputs_of(c, DType::f32, generator, true);
    for (const double dropout : {0.0, 0.3}) {
      // Half types round q + u and q + v, the weights and the gradients of scores.
      for (const auto [type, tolerance] :
           {Limit{DType::f32, 2e-5}, Limit{DType::bf16, 2e-2}, Limit{DType::f16, 1e-2}}) {
        INFO("queries " << c.queries << " memory " << c.memory << " batch " << c.batch << " heads "
                        << c.heads << " dropout " << dropout << " in " << name(type));
        require_devices_agree(
            [&](std::span<const Variable> all) {
              Generator same(8);
              return Inputs{attend(all, c.window, {c.heads, dropout, &same})};
            },
            {in[0].value(), in[1].value(), in[2].value()}, {in[3].value(), in[4].value()}, type,
            tolerance);
      }
    }
  }
}

TEST_CASE("relative attention in other precisions stays near f32, with its gradients",
          "[ops][relative_attention][bf16]") {
  Generator generator(38);
  const Inputs in = inputs_of({140, 60, 2, 16, 2}, DType::f32, generator);
  const Tensor grad = random_tensor(in[0].shape(), DType::f32, generator);
  const auto run = [&](Precision precision) {
    Generator same(7);
    for (Variable input : in) {
      input.zero_grad();
    }
    const Variable out = attend(in, 0, {2, 0.2, &same, precision});
    backward(out, grad);
    std::vector<Tensor> results{out.value()};
    for (const Variable& input : in) {
      results.push_back(input.grad().clone());
    }
    return results;
  };
  const std::vector<Tensor> exact = run(Precision::f32);
  std::vector<Precision> precisions{Precision::bf16};
  if (test_device().is_cuda()) {
    precisions.insert(precisions.end(), {Precision::tf32, Precision::f16});
  }
  for (const Precision precision : precisions) {
    const std::vector<Tensor> rounded = run(precision);
    for (std::size_t i = 0; i < exact.size(); ++i) {
      INFO(name(precision) << ", result " << i);
      const double error = max_relative_error(rounded[i], exact[i]);
      REQUIRE(error > 0.0);
      REQUIRE(error < 0.03);  // operands in bf16 are 2^-9 off
    }
  }
}
