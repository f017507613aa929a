#include "ops/stepping.h"

#include "ops/attention.h"
#include "ops/attention_step.h"
#include "ops/cpu/rows.h"
#include "ops/linear.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

constexpr double kTolerance = 1e-5;

}  // namespace

TEST_CASE("rows on vectors give what the plain loops give", "[ops][stepping]") {
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
      Tensor y = Tensor::empty({3, out});
      linear_step(x.value(), weight.value(), bias.value(), y);
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

TEST_CASE("an attention cache attends to the last positions", "[ops][stepping]") {
  Generator generator(3);
  const std::int64_t steps = 200;
  const std::int64_t size = 12;
  for (const std::int64_t heads : {1, 3}) {
    for (const std::int64_t positions : {1, 5, 64, 65, 130, 300}) {
      INFO(heads << " heads, " << positions << " positions");
      const Variable q(random_tensor({steps, 2, size}, DType::f32, generator, -3, 3));
      const Variable kv(random_tensor({steps, 2, 2 * size}, DType::f32, generator, -3, 3));
      AttentionMask mask;
      mask.window = positions - 1;
      if (positions == 1) {  // a window of 0 would mean none
        mask.additive = Tensor::full({steps, steps}, -1e9);
        for (std::int64_t t = 0; t < steps; ++t) {
          mask.additive.data<float>()[t * steps + t] = 0.0F;
        }
      }
      AttentionOptions options;
      options.num_heads = heads;
      const Tensor expected = attention(q, kv, mask, options).value();
      AttentionCache cache(2, size, heads, positions);
      Tensor out = Tensor::empty({2, size});
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
