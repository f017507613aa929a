// The adaptive softmax against its definition, written out with plain loops.
#include "models/adaptive_softmax.h"

#include <cmath>
#include <map>
#include <set>

#include "ops/concat.h"
#include "ops/elementwise.h"
#include "tests/support/tiny_model.h"
#include "trainers/optimizer.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

struct Case {
  std::string name;
  std::int64_t vocabulary_size;
  std::int64_t state_size;
  AdaptiveOptions options;
};

AdaptiveOptions options_of(std::vector<std::int64_t> cutoffs, std::int64_t row_size,
                           std::int64_t div_val, bool tie_projections = true) {
  AdaptiveOptions options;
  options.cutoffs = std::move(cutoffs);
  options.row_size = row_size;
  options.div_val = div_val;
  options.tie_projections = tie_projections;
  options.range = 0.6;
  return options;
}

std::vector<Case> cases() {
  return {
      {"two clusters", 11, 6, options_of({4}, 6, 2)},
      {"four clusters, the last of no rows", 23, 5, options_of({7, 12, 13}, 9, 3)},
      {"clusters of one id", 4, 3, options_of({1, 2, 3}, 5, 1)},
      {"projections of their own", 17, 7, options_of({3, 9}, 4, 2, false)},
      {"a head alone", 9, 4, options_of({}, 3, 4)},
  };
}

// With biases that count for something.
AdaptiveSoftmax built(const Case& c, DType dtype = DType::f64, Device device = test_device()) {
  Generator generator(1);
  Initializer init(generator, device, dtype);
  AdaptiveSoftmax softmax(c.vocabulary_size, c.state_size, c.state_size, c.options, init);
  scramble(softmax.embedding_parameters(), 2);
  scramble(softmax.output_parameters(), 3);
  return softmax;
}

Parameters parameters_of(const AdaptiveSoftmax& softmax) {
  Parameters all = softmax.embedding_parameters();
  for (const NamedVariable& p : softmax.output_parameters()) {
    all.push_back(p);
  }
  return all;
}

// f64 parameters on the CPU by their names, and what is computed with them.
class Definition {
 public:
  Definition(const Case& c, const AdaptiveSoftmax& softmax) : case_(c), ends_(c.options.cutoffs) {
    ends_.push_back(c.vocabulary_size);
    for (const NamedVariable& p : parameters_of(softmax)) {
      tensors_[p.name] = on_cpu(p.variable.value()).to(DType::f64);
    }
  }

  std::vector<double> embedding(std::int64_t id) const {
    const auto [cluster, place] = find(id);
    std::vector<double> x(static_cast<std::size_t>(case_.state_size), 0.0);
    const std::string end = case_.options.tie_projections ? "softmax" : "embedding";
    for (std::int64_t k = 0; k < row_size(cluster); ++k) {
      for (std::size_t j = 0; j < x.size(); ++j) {
        x[j] +=
            at(fmt::format("{}.projections.{}", end, cluster), static_cast<std::int64_t>(j), k) *
            at(fmt::format("softmax.clusters.{}.weight", cluster), place, k);
      }
    }
    return x;
  }

  double log_probability(const double* h, std::int64_t id) const {
    const auto [cluster, place] = find(id);
    const std::vector<double> head = log_softmax(h, 0);
    if (cluster == 0) {
      return head[static_cast<std::size_t>(place)];
    }
    return head[head.size() - static_cast<std::size_t>(cluster)] +
           log_softmax(h, cluster)[static_cast<std::size_t>(place)];
  }

 private:
  std::pair<std::int64_t, std::int64_t> find(std::int64_t id) const {
    std::int64_t cluster = 0;
    while (id >= ends_[static_cast<std::size_t>(cluster)]) {
      ++cluster;
    }
    return {cluster, cluster == 0 ? id : id - ends_[static_cast<std::size_t>(cluster - 1)]};
  }
  std::int64_t row_size(std::int64_t cluster) const {
    std::int64_t size = case_.options.row_size;
    for (std::int64_t i = 0; i < cluster; ++i) {
      size /= case_.options.div_val;
    }
    return size;
  }
  double at(const std::string& name, std::int64_t row, std::int64_t column) const {
    const Tensor& tensor = tensors_.at(name);
    return tensor.data<double>()[row * tensor.size(1) + column];
  }
  std::vector<double> log_softmax(const double* h, std::int64_t cluster) const {
    const std::string path = fmt::format("softmax.clusters.{}", cluster);
    const auto biases = tensors_.at(path + ".bias").values<double>();
    std::vector<double> scores(biases.begin(), biases.end());
    for (std::int64_t k = 0; k < row_size(cluster); ++k) {
      double projected = 0.0;
      for (std::int64_t j = 0; j < case_.state_size; ++j) {
        projected += h[j] * at(fmt::format("softmax.projections.{}", cluster), j, k);
      }
      for (std::size_t r = 0; r < scores.size(); ++r) {
        scores[r] += projected * at(path + ".weight", static_cast<std::int64_t>(r), k);
      }
    }
    double sum = 0.0;
    for (const double score : scores) {
      sum += std::exp(score);
    }
    for (double& score : scores) {
      score -= std::log(sum);
    }
    return scores;
  }

  Case case_;
  std::vector<std::int64_t> ends_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace

TEST_CASE("an adaptive softmax is what its definition says", "[models][adaptive]") {
  Generator generator(4);
  for (const Case& c : cases()) {
    INFO(c.name);
    const AdaptiveSoftmax softmax = built(c);
    const Definition definition(c, softmax);
    REQUIRE(softmax.vocabulary_size() == c.vocabulary_size);
    REQUIRE(softmax.reads_ids_on_cpu());
    for (const std::int64_t steps : {1, 3, 40}) {
      const Tensor ids = random_ids({steps, 2}, c.vocabulary_size, generator);
      const Tensor embedded = on_cpu(softmax.embed(ids, {}).value());
      REQUIRE(embedded.shape() == Shape{steps, 2, c.state_size});
      const Tensor h = random_tensor({steps, 2, c.state_size}, DType::f64, generator);
      const Tensor scores = on_cpu(softmax.scores(Variable(h), {}).value());
      REQUIRE(scores.shape() == Shape{steps, 2, c.vocabulary_size});
      const Tensor cpu_h = on_cpu(h);
      double nats = 0.0;
      for (std::int64_t i = 0; i < 2 * steps; ++i) {
        const std::int32_t id = ids.data<std::int32_t>()[i];
        const std::vector<double> expected = definition.embedding(id);
        for (std::int64_t j = 0; j < c.state_size; ++j) {
          REQUIRE(embedded.data<double>()[i * c.state_size + j] ==
                  Approx(expected[static_cast<std::size_t>(j)]).margin(1e-12));
        }
        const double* const row = cpu_h.data<double>() + i * c.state_size;
        double probability = 0.0;
        for (std::int64_t w = 0; w < c.vocabulary_size; ++w) {
          const double score = scores.data<double>()[i * c.vocabulary_size + w];
          REQUIRE(score == Approx(definition.log_probability(row, w)).epsilon(1e-12));
          probability += std::exp(score);
        }
        REQUIRE(probability == Approx(1.0).epsilon(1e-12));
        nats -= definition.log_probability(row, id);
      }
      const auto count = static_cast<double>(2 * steps);
      REQUIRE(softmax.loss(Variable(h), ids, {}).value().item() ==
              Approx(nats / count).epsilon(1e-12));
      REQUIRE(softmax.loss_sum(h, ids, {}).item() == Approx(nats).epsilon(1e-12));
      REQUIRE(softmax.loss_sum(h, ids, {}).device() == test_device());
    }
  }
}

TEST_CASE("an adaptive softmax has the right gradients", "[models][adaptive][gradient]") {
  Generator generator(5);
  std::vector<Case> all = cases();
  all.push_back(all.front());
  for (std::size_t i = 0; i < all.size(); ++i) {
    Case& c = all[i];
    c.options.dropout = i == 0 ? 0.0 : 0.4;
    INFO(c.name << ", dropout " << c.options.dropout);
    const AdaptiveSoftmax softmax = built(c);
    const Tensor ids = random_ids({3, 2}, c.vocabulary_size, generator);
    const Tensor targets = random_ids({3, 2}, c.vocabulary_size, generator);
    std::vector<Variable> checked = {random_parameter({3, 2, c.state_size}, DType::f64, generator)};
    for (const NamedVariable& p : parameters_of(softmax)) {
      checked.push_back(p.variable);
    }
    // The operations are checked with several threads in tests/ops.
    const std::string problem = check_gradients(
        [&](std::span<const Variable> in) {
          Generator masks(3);  // the same every time
          const ForwardContext context{true, &masks};
          // Rows that both ends share get gradients of both.
          const Variable x = softmax.embed(ids, context);
          return std::vector<Variable>{softmax.loss(add(in[0], x), targets, context)};
        },
        checked);
    INFO(problem);
    REQUIRE(problem.empty());
  }
}

TEST_CASE("clusters that no target is in take no part", "[models][adaptive]") {
  const Case c = cases()[1];
  const AdaptiveSoftmax softmax = built(c);
  Generator generator(6);
  const Variable h = random_parameter({3, 1, c.state_size}, DType::f64, generator);
  const auto touched = [&](const std::vector<std::int32_t>& targets) {
    zero_grads(parameters_of(softmax));
    backward(softmax.loss(h, Tensor::from(targets, {3, 1}), {}));
    std::set<std::string> names;
    for (const NamedVariable& p : softmax.output_parameters()) {
      if (p.variable.grad().defined()) {
        names.insert(p.name);
      }
    }
    return names;
  };
  using Names = std::set<std::string>;
  const Names head = {"softmax.clusters.0.weight", "softmax.clusters.0.bias",
                      "softmax.projections.0"};
  REQUIRE(touched({0, 6, 3}) == head);
  Names second = head;
  second.insert({"softmax.clusters.2.weight", "softmax.clusters.2.bias", "softmax.projections.2"});
  REQUIRE(touched({12, 6, 12}) == second);
  Names last = head;
  last.insert("softmax.clusters.3.bias");  // that is all there is
  REQUIRE(touched({22, 13, 15}) == last);
  // What has no gradient has moved by none: the norm is that of the others.
  REQUIRE(std::isfinite(grad_norm(parameters_of(softmax))));
}

TEST_CASE("dropout of an adaptive softmax lies on rows and projected states",
          "[models][adaptive]") {
  Case c = cases()[0];
  c.options.dropout = 0.5;
  const AdaptiveSoftmax softmax = built(c, DType::f32);
  const AdaptiveSoftmax without = built(cases()[0], DType::f32);
  Generator data(7);
  const Tensor ids = random_ids({20, 2}, c.vocabulary_size, data);  // of both clusters
  const Tensor h = random_tensor({20, 2, c.state_size}, DType::f32, data);
  const auto values = [&](const AdaptiveSoftmax& of, const ForwardContext& context) {
    return std::vector<Tensor>{of.embed(ids, context).value(),
                               of.loss(Variable(h), ids, context).value(),
                               of.loss_sum(h, ids, context)};
  };
  const auto equal = [](const std::vector<Tensor>& a, const std::vector<Tensor>& b, std::size_t i) {
    return same_bits(a[i], b[i]);
  };
  Generator generator(1);
  const auto evaluated = values(softmax, {false, &generator});
  REQUIRE(generator.next_stream() == 0);
  const auto trained = values(softmax, {true, &generator});
  REQUIRE(generator.next_stream() == 2 + 2 + 2);  // a stream for each cluster and each end
  Generator again(1);
  const auto repeated = values(softmax, {true, &again});
  for (std::size_t i = 0; i < evaluated.size(); ++i) {
    REQUIRE(equal(evaluated, values(without, {}), i));
    REQUIRE_FALSE(equal(evaluated, trained, i));
    REQUIRE(equal(repeated, trained, i));
  }
}

TEST_CASE("an adaptive softmax agrees between devices", "[models][adaptive][gpu]") {
  struct Arithmetic {
    DType activations;
    Precision precision;
    double tolerance;
  };
  Generator generator(8);
  std::vector<Case> all = cases();
  // More than one block of every kernel.
  all.push_back({"larger", 700, 40, options_of({300, 500}, 40, 4)});
  for (Case c : all) {
    for (const Arithmetic& arithmetic : {Arithmetic{DType::f32, Precision::f32, 1e-5},
                                         Arithmetic{DType::bf16, Precision::bf16, 2e-2},
                                         Arithmetic{DType::f16, Precision::f16, 1e-2}}) {
      INFO(c.name << " in " << name(arithmetic.precision));
      c.options.dropout = 0.3;
      const AdaptiveSoftmax here = built(c, DType::f32);
      const AdaptiveSoftmax there = built(c, DType::f32, Device::cpu());
      const std::int64_t steps = c.vocabulary_size > 100 ? 60 : 9;
      const Tensor ids = random_ids({steps, 2}, c.vocabulary_size, generator);
      const Tensor targets = random_ids({steps, 2}, c.vocabulary_size, generator);
      const Tensor states = on_cpu(random_tensor({steps, 2, c.state_size}, DType::f32, generator))
                                .to(arithmetic.activations);
      const Tensor grad =
          on_cpu(random_tensor(states.shape(), DType::f32, generator)).to(arithmetic.activations);
      const auto run = [&](const AdaptiveSoftmax& softmax, Device device, DType type,
                           Precision precision) {
        Generator masks(1);
        const ForwardContext context{true, &masks, precision};
        const Variable h(states.to(type).clone().to(device), true);
        const Variable x = softmax.embed(ids, context);
        REQUIRE(x.dtype() == type);
        backward(x, grad.to(type).to(device));
        const Variable loss = softmax.loss(h, targets, context);
        backward(loss);
        std::vector<Tensor> results{x.value(), loss.value(), softmax.loss_sum(h.value(), ids, {}),
                                    softmax.scores(h, {}).value(), h.grad()};
        for (const NamedVariable& p : parameters_of(softmax)) {
          results.push_back(p.variable.grad());
        }
        return results;
      };
      const auto expected = run(there, Device::cpu(), DType::f32, Precision::f32);
      const auto results = run(here, test_device(), arithmetic.activations, arithmetic.precision);
      for (std::size_t i = 0; i < results.size(); ++i) {
        INFO("result " << i);
        REQUIRE(results[i].defined() == expected[i].defined());
        if (results[i].defined()) {
          REQUIRE(max_relative_error(results[i], expected[i]) < arithmetic.tolerance);
        }
      }
    }
  }
}

TEST_CASE("ids on a GPU are fetched", "[models][adaptive][gpu]") {
  const Case c = cases()[0];
  const AdaptiveSoftmax softmax = built(c);
  Generator generator(9);
  const Tensor ids = random_ids({6, 2}, c.vocabulary_size, generator);
  const Tensor h = random_tensor({6, 2, c.state_size}, DType::f64, generator);
  REQUIRE(
      same_bits(softmax.embed(on_test_device(ids), {}).value(), softmax.embed(ids, {}).value()));
  REQUIRE(same_bits(softmax.loss(Variable(h), on_test_device(ids), {}).value(),
                    softmax.loss(Variable(h), ids, {}).value()));
}

TEST_CASE("an adaptive softmax explains what does not fit", "[models][adaptive]") {
  const auto error_with = [](std::int64_t vocabulary_size, std::vector<std::int64_t> cutoffs) {
    return error_of([&] { built({"", vocabulary_size, 4, options_of(std::move(cutoffs), 4, 2)}); });
  };
  REQUIRE_THAT(error_with(11, {4, 11}),
               ContainsSubstring("cutoffs [4, 11] do not fit a vocabulary of 11 ids"));
  REQUIRE_THAT(error_with(11, {4, 4}), ContainsSubstring("[4, 4]"));
  REQUIRE_THAT(error_with(11, {5, 4}), ContainsSubstring("[5, 4]"));
  REQUIRE_THAT(error_with(11, {0, 4}), ContainsSubstring("[0, 4]"));
  Generator generator(1);
  Initializer init(generator);
  REQUIRE_THAT(error_of([&] { AdaptiveSoftmax(11, 4, 5, options_of({4}, 4, 2), init); }),
               ContainsSubstring("set tie_projections to false"));
  // Sizes of their own are no mistake where each end has its own projections.
  const AdaptiveSoftmax wide(11, 4, 5, options_of({4}, 4, 2, false), init);
  REQUIRE(wide.embed(Tensor::zeros({2, 1}, DType::i32), {}).shape() == Shape{2, 1, 4});
  REQUIRE(wide.scores(Variable(Tensor::zeros({2, 1, 5})), {}).shape() == Shape{2, 1, 11});

  const AdaptiveSoftmax softmax = built(cases()[0]);
  const auto ids = [](std::vector<std::int32_t> values) {
    return Tensor::from(values, {static_cast<std::int64_t>(values.size()), 1});
  };
  const Variable h(on_test_device(Tensor::zeros({2, 1, 6}, DType::f64)));
  REQUIRE_THAT(error_of([&] {
                 softmax.embed(ids({3, 11}), {});
               }),
               ContainsSubstring("ids: 11 at position 1") && ContainsSubstring("0 to 10"));
  REQUIRE_THAT(error_of([&] {
                 softmax.loss(h, ids({-1, 3}), {});
               }),
               ContainsSubstring("targets: -1 at position 0"));
  REQUIRE_THAT(error_of([&] {
                 softmax.loss(h, ids({1, 2, 3}), {});
               }),
               ContainsSubstring("targets has shape [3, 1]; expected [2, 1]"));
  REQUIRE_THAT(error_of([&] { softmax.loss_sum(h.value(), ids({1}), {}); }),
               ContainsSubstring("targets has shape [1, 1]; expected [2, 1]"));
}
