#include "ops/attention.h"

#include <cmath>
#include <optional>

#include "ops/cpu/softmax.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

AttentionMask mask_on(Device device, AttentionMask mask) {
  for (Tensor* part : {&mask.additive, &mask.key_padding}) {
    if (part->defined()) {
      *part = part->to(device);
    }
  }
  return mask;
}

// Attention written out for one element after the other, in f64: the specification.
Tensor reference(const Tensor& q_anywhere, const Tensor& kv_anywhere,
                 const AttentionMask& mask_anywhere, std::int64_t heads) {
  const Tensor q = on_cpu(q_anywhere);
  const Tensor kv = on_cpu(kv_anywhere);
  const AttentionMask mask = mask_on(Device::cpu(), mask_anywhere);
  const std::int64_t queries = q.size(0);
  const std::int64_t batch = q.size(1);
  const std::int64_t size = q.size(2);
  const std::int64_t context = kv.size(0);
  const std::int64_t head_size = size / heads;
  Tensor out = Tensor::zeros(q.shape(), DType::f64);
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t column = 0; column < size; column += head_size) {
      for (std::int64_t i = 0; i < queries; ++i) {
        const std::int64_t position = context - queries + i;
        std::vector<double> weight(static_cast<std::size_t>(context), 0.0);
        double sum = 0.0;
        for (std::int64_t j = 0; j < context; ++j) {
          if ((mask.causal && j > position) || (mask.window > 0 && j < position - mask.window) ||
              (mask.key_padding.defined() && mask.key_padding.data<bool>()[j * batch + b])) {
            continue;
          }
          double score = 0.0;
          for (std::int64_t e = column; e < column + head_size; ++e) {
            score += q[i][b].data<double>()[e] * kv[j][b].data<double>()[e];
          }
          score /= std::sqrt(static_cast<double>(head_size));
          if (mask.additive.defined()) {
            score += mask.additive[i].data<double>()[j];
          }
          sum += weight[static_cast<std::size_t>(j)] = std::exp(score);
        }
        for (std::int64_t j = 0; j < context && sum > 0.0; ++j) {
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
  bool causal = true;
  std::int64_t window = 0;
  bool additive = false;
  bool padding = false;
};

const std::vector<Case> kCases = {
    {1, 0, 1, 1, 1},  {3, 0, 2, 3, 3, true, 0, true, false},  {17, 5, 1, 4, 2, true, 5},
    {4, 17, 3, 6, 1}, {5, 3, 2, 4, 1, false, 0, false, true}, {3, 3, 2, 4, 2, true, 2, true, true},
    {7, 0, 1, 2, 1},  {3, 9, 2, 3, 1, false, 0, true, false},
};

AttentionMask make_mask(const Case& c, DType dtype, Generator& generator) {
  AttentionMask mask{c.causal, c.window, Tensor(), Tensor()};
  const std::int64_t context = c.memory + c.queries;
  if (c.additive) {
    mask.additive = random_tensor({c.queries, context}, dtype, generator, -2, 2);
  }
  if (c.padding) {
    mask.key_padding = Tensor::zeros({context, c.batch}, DType::boolean);
    for (std::int64_t j = 0; j < mask.key_padding.numel(); j += 3) {
      mask.key_padding.data<bool>()[j] = true;
    }
    mask.key_padding = on_test_device(mask.key_padding);
  }
  return mask;
}

}  // namespace

TEST_CASE("attention follows its definition", "[ops][attention]") {
  Generator generator(21);
  std::vector<Case> cases = kCases;
  cases.push_back({130, 70, 2, 8, 2, true, 65});  // several blocks of queries
  cases.push_back({65, 0, 3, 5, 1});
  for (const Case& c : cases) {
    for (const bool offset : {false, true}) {
      INFO("queries " << c.queries << " memory " << c.memory << " heads " << c.heads);
      const Tensor q =
          random_tensor({c.queries, c.batch, c.size}, DType::f64, generator, -2, 2, offset);
      const Tensor kv = random_tensor({c.memory + c.queries, c.batch, 2 * c.size}, DType::f64,
                                      generator, -2, 2, offset);
      const AttentionMask mask = make_mask(c, DType::f64, generator);
      AttentionMask narrow_mask = mask;
      if (mask.additive.defined()) {
        narrow_mask.additive = mask.additive.to(DType::f32);
      }
      const Tensor expected = reference(q, kv, mask, c.heads);
      for_thread_counts([&] {
        const Tensor wide = attention(Variable(q), Variable(kv), mask, {c.heads}).value();
        REQUIRE(max_relative_error(wide, expected) < 1e-13);
        const Tensor narrow = attention(Variable(q.to(DType::f32)), Variable(kv.to(DType::f32)),
                                        narrow_mask, {c.heads})
                                  .value();
        REQUIRE(max_relative_error(narrow, expected) < 3e-6);
      });
    }
  }
}

TEST_CASE("attention has the right gradients", "[ops][attention][gradient]") {
  Generator generator(22);
  for (const Case& c : kCases) {
    for (const double dropout : {0.0, 0.4}) {
      INFO("queries " << c.queries << " memory " << c.memory << " heads " << c.heads);
      const AttentionMask mask = make_mask(c, DType::f64, generator);
      require_gradients(
          [&](std::span<const Variable> in) {
            Generator same(5);  // the same dropout in every evaluation
            return std::vector<Variable>{attention(in[0], in[1], mask, {c.heads, dropout, &same})};
          },
          {random_parameter({c.queries, c.batch, c.size}, DType::f64, generator, -1, 1, true),
           random_parameter({c.memory + c.queries, c.batch, 2 * c.size}, DType::f64, generator)});
    }
  }
}

TEST_CASE("attention gradients in f32 follow f64 over several blocks", "[ops][attention]") {
  Generator generator(23);
  const Variable q = random_parameter({150, 2, 12}, DType::f32, generator);
  const Variable kv = random_parameter({230, 2, 24}, DType::f32, generator);
  const Variable wide_q(q.value().to(DType::f64), true);
  const Variable wide_kv(kv.value().to(DType::f64), true);
  const auto run = [](const Variable& a, const Variable& b) {
    Generator same(6);
    const Variable out = attention(a, b, {true, 80, Tensor(), Tensor()}, {3, 0.3, &same});
    backward(out, Tensor::full(out.shape(), 1.0, out.dtype(), out.device()));
    return out.value();
  };
  REQUIRE(max_relative_error(run(q, kv), run(wide_q, wide_kv)) < 3e-6);
  REQUIRE(max_relative_error(q.grad(), wide_q.grad()) < 1e-5);
  REQUIRE(max_relative_error(kv.grad(), wide_kv.grad()) < 1e-5);
}

TEST_CASE("attention never touches what lies beyond a block of queries", "[ops][attention]") {
  Generator generator(24);
  const Tensor q = random_tensor({134, 64, 2}, DType::f32, generator);  // blocks of 128
  Tensor kv = random_tensor({134, 64, 4}, DType::f32, generator);
  const auto first_block = [&] {
    return attention(Variable(q), Variable(kv), {}).value().narrow(0, 128).clone();
  };
  const Tensor before = first_block();
  REQUIRE(max_relative_error(before, Tensor::zeros(before.shape())) > 0.0);
  kv.narrow(128, 6).fill(std::numeric_limits<double>::quiet_NaN());
  REQUIRE(same_bits(before, first_block()));
}

TEST_CASE("attention gives zeros where nothing is visible", "[ops][attention]") {
  const Variable q(Tensor::full({2, 1, 2}, 1.0, DType::f32, test_device()), true);
  const Variable kv(Tensor::full({2, 1, 4}, 1.0, DType::f32, test_device()), true);
  AttentionMask mask;
  mask.key_padding = on_test_device(Tensor::full({2, 1}, 1.0, DType::boolean));
  const Variable out = attention(q, kv, mask);
  REQUIRE(same_bits(out.value(), Tensor::zeros({2, 1, 2})));
  backward(out, Tensor::full(out.shape(), 1.0, DType::f32, test_device()));
  REQUIRE(max_relative_error(q.grad(), Tensor::zeros(q.shape())) == 0.0);
  REQUIRE(max_relative_error(kv.grad(), Tensor::zeros(kv.shape())) == 0.0);
}

TEST_CASE("attention explains what does not fit", "[ops][attention]") {
  const auto zeros = [](const Shape& shape) {
    return Variable(Tensor::zeros(shape, DType::f32, test_device()));
  };
  const Variable q = zeros({4, 2, 6});
  REQUIRE(error_of([&] {
            attention(q, zeros({3, 2, 12}), {});
          }) ==
          "[attention] kv has shape [3, 2, 12]; expected (C, 2, 12) with C >= 4 for q [4, 2, 6]");
  const Variable kv = zeros({4, 2, 12});
  REQUIRE_THAT(error_of([&] { attention(q, kv, {}, {4}); }),
               ContainsSubstring("4 heads do not divide the size 6"));
  REQUIRE_THAT(error_of([&] {
                 attention(q, kv, {}, {1, 0.5, nullptr});
               }),
               ContainsSubstring("needs a generator"));
  const Variable wide_q(q.value().to(DType::f64));
  const Variable wide_kv(kv.value().to(DType::f64));
  REQUIRE(error_of([&] {
            attention(wide_q, wide_kv, {}, {1, 0.0, nullptr, Precision::bf16});
          }) == "[attention] products of f64 tensors are not done in bf16");
  REQUIRE(error_of([&] {
            attention(Variable(on_cpu(q.value())), Variable(on_cpu(kv.value())), {},
                      {1, 0.0, nullptr, Precision::tf32});
          }) == "[attention] precision tf32 needs a GPU; use f32 or bf16 on the CPU");
  AttentionMask mask;
  mask.additive = on_test_device(Tensor::zeros({4, 4}, DType::f64));
  REQUIRE_THAT(error_of([&] { attention(q, kv, mask); }),
               ContainsSubstring("additive mask is f64 on ") && ContainsSubstring("expected f32"));
  mask.additive = Tensor();
  mask.key_padding = on_test_device(Tensor::zeros({4, 2}));
  REQUIRE_THAT(error_of([&] { attention(q, kv, mask); }),
               ContainsSubstring("key_padding is f32 on ") && ContainsSubstring("expected bool"));
}

TEST_CASE("softmax of a row: vectorised against plain, any length", "[ops][softmax][cpu]") {
  Generator generator(25);
  for (const std::int64_t n : {1, 3, 8, 15, 16, 17, 100, 205}) {
    const Tensor row = random_tensor({n}, DType::f32, generator, -30, 30, true);
    Tensor fast = row.clone();
    Tensor plain = row.clone();
    const float a = cpu::softmax_in_place(fast.data<float>(), n);
    const float b = cpu::softmax_in_place_plain(plain.data<float>(), n);
    REQUIRE(max_relative_error(fast, plain) < 1e-6);
    REQUIRE(a == Approx(b));
    Tensor nothing = Tensor::full({n}, -std::numeric_limits<double>::infinity());
    REQUIRE(std::isinf(cpu::softmax_in_place(nothing.data<float>(), n)));
    REQUIRE(same_bits(nothing, Tensor::zeros({n})));
    Tensor broken = row.clone();
    broken.data<float>()[n / 2] = std::numeric_limits<float>::quiet_NaN();
    cpu::softmax_in_place(broken.data<float>(), n);
    REQUIRE(std::isnan(broken.data<float>()[n / 2]));

    Tensor grad = random_tensor({n}, DType::f32, generator, -2, 2, true);
    Tensor plain_grad = grad.clone();
    cpu::softmax_gradient_in_place(fast.data<float>(), grad.data<float>(), n);
    cpu::softmax_gradient_in_place_plain(fast.data<float>(), plain_grad.data<float>(), n);
    REQUIRE(max_relative_error(grad, plain_grad) < 1e-6);
  }
}

TEST_CASE("attention in other precisions stays near f32, with its gradients",
          "[ops][attention][bf16]") {
  Generator generator(26);
  const Variable q = random_parameter({140, 2, 16}, DType::f32, generator);
  const Variable kv = random_parameter({200, 2, 32}, DType::f32, generator);
  const Tensor grad = random_tensor(q.shape(), DType::f32, generator);
  const auto run = [&](Precision precision) {
    Generator same(7);
    for (Variable v : {q, kv}) {
      v.zero_grad();
    }
    const Variable out = attention(q, kv, {}, {2, 0.2, &same, precision});
    backward(out, grad);
    return std::vector<Tensor>{out.value(), q.grad(), kv.grad()};
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
      REQUIRE(error < 0.02);  // operands in bf16 are 2^-9 off
    }
  }
}

namespace {

// As many cases as ways through the kernels: rows of one warp (four to a block, the last not full),
// of a block, and too long for one; one block of queries and several, the last shorter; windows
// that begin anywhere; products of all batch entries and of all heads at once.
const std::vector<Case> kGpuCases = {
    {1, 0, 1, 1, 1},
    {3, 2, 5, 7, 1},
    {37, 70, 2, 6, 3, true, 21, true, true},
    {9, 6, 1, 8, 4, false, 4, true, false},
    {66, 650, 2, 8, 1, true, 0, false, true},
    {5, 3, 2, 4, 2, false, 0, false, true},
    {150, 41, 64, 1, 1},
    {600, 200, 1, 3, 1, true, 131, false, true},
    {2, 8300, 1, 4, 1, true, 0, true, false},
};

}  // namespace

TEST_CASE("attention on a GPU follows the CPU", "[ops][attention][gpu]") {
  struct Limit {
    DType type;
    double tolerance;
  };
  Generator generator(27);
  for (const Case& c : kGpuCases) {
    const AttentionMask mask = make_mask(c, DType::f32, generator);
    const std::int64_t context = c.memory + c.queries;
    const Tensor q =
        random_tensor({c.queries, c.batch, c.size}, DType::f32, generator, -1, 1, true);
    const Tensor kv = random_tensor({context, c.batch, 2 * c.size}, DType::f32, generator);
    for (const double dropout : {0.0, 0.3}) {
      // Half types round the weights and the gradient of scores; f32 sums up to 8302 terms.
      for (const auto [type, tolerance] :
           {Limit{DType::f32, 1e-5}, Limit{DType::bf16, 1e-2}, Limit{DType::f16, 1e-2}}) {
        INFO("queries " << c.queries << " memory " << c.memory << " batch " << c.batch << " heads "
                        << c.heads << " dropout " << dropout << " in " << name(type));
        require_devices_agree(
            [&](std::span<const Variable> in) {
              Generator same(8);
              return std::vector<Variable>{attention(in[0], in[1], mask_on(in[0].device(), mask),
                                                     {c.heads, dropout, &same})};
            },
            {q, kv}, {}, type, tolerance);
      }
    }
  }
}

TEST_CASE("attention on a GPU drops what the CPU drops", "[ops][attention][gpu]") {
  // Equal weights, one-hot values and one-hot gradients: element (i, j) of the output and (j, i) of
  // the values' gradient are the weight of query i for position j after dropout.
  constexpr std::int64_t kQueries = 70;
  constexpr std::int64_t kContext = 133;
  constexpr std::int64_t kBatch = 3;
  constexpr std::int64_t kHeads = 2;
  Tensor q = Tensor::zeros({kQueries, kBatch, kHeads * kContext});
  Tensor kv = Tensor::zeros({kContext, kBatch, 2 * kHeads * kContext});
  Tensor grad = Tensor::zeros(q.shape());
  for (std::int64_t b = 0; b < kBatch; ++b) {
    for (std::int64_t head = 0; head < kHeads; ++head) {
      for (std::int64_t j = 0; j < kContext; ++j) {
        kv[j][b].data<float>()[(kHeads + head) * kContext + j] = 1.0F;
      }
      for (std::int64_t i = 0; i < kQueries; ++i) {
        grad[i][b].data<float>()[head * kContext + i] = 1.0F;
      }
    }
  }
  const auto run = [&](Device device, DType type) {
    Generator same(9);
    const Variable kv_there(kv.to(type).to(device), true);
    const Variable out = attention(Variable(q.to(type).to(device)), kv_there, {true, 90, {}, {}},
                                   {kHeads, 0.37, &same});
    backward(out, grad.to(type).to(device));
    return std::vector<Tensor>{out.value(), kv_there.grad()};
  };
  const auto kept = [](const Tensor& weights) {
    std::vector<bool> bits;
    for (const float weight : on_cpu(weights).to(DType::f32).values<float>()) {
      bits.push_back(weight != 0.0F);
    }
    return bits;
  };
  const std::vector<Tensor> expected = run(Device::cpu(), DType::f32);
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    INFO(name(type));
    const std::vector<Tensor> found = run(test_device(), type);
    for (std::size_t i = 0; i < found.size(); ++i) {
      REQUIRE(kept(found[i]) == kept(expected[i]));
      REQUIRE(max_relative_error(found[i], expected[i]) < 1e-2);
    }
  }
}

TEST_CASE("attention on a GPU gives the same bits again", "[ops][attention][gpu]") {
  Generator generator(28);
  const Variable q = random_parameter({140, 3, 8}, DType::f32, generator);
  const Variable kv = random_parameter({200, 3, 16}, DType::f32, generator);
  const Tensor grad = random_tensor(q.shape(), DType::f32, generator);
  const auto run = [&](bool recorded) {
    Generator same(10);
    for (Variable v : {q, kv}) {
      v.zero_grad();
    }
    std::optional<NoGradGuard> no_grad;
    if (!recorded) {
      no_grad.emplace();
    }
    const Variable out = attention(q, kv, {}, {2, 0.2, &same});
    if (recorded) {
      backward(out, grad);
    }
    return std::vector<Tensor>{out.value(), q.grad(), kv.grad()};
  };
  const std::vector<Tensor> once = run(true);
  const std::vector<Tensor> again = run(true);
  for (std::size_t i = 0; i < once.size(); ++i) {
    REQUIRE(same_bits(again[i], once[i]));
  }
  REQUIRE(same_bits(run(false)[0], once[0]));  // weights that are not kept are the same
}
