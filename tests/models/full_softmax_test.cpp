// Embedding and softmax over a whole vocabulary, tied or not; and losses in pieces.
#include "models/full_softmax.h"

#include "models/chunked_loss.h"
#include "ops/elementwise.h"
#include "tests/support/tiny_model.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

FullSoftmax built(bool tied, DType dtype = DType::f64, Device device = test_device()) {
  Generator generator(1);
  Initializer init(generator, device, dtype);
  FullSoftmax softmax(9, 5, 5, 0.8, tied, init);
  scramble(softmax.output_parameters(), 2);
  return softmax;
}

std::vector<std::string> names(const Parameters& parameters) {
  std::vector<std::string> all;
  for (const NamedVariable& p : parameters) {
    all.push_back(p.name);
  }
  return all;
}

}  // namespace

TEST_CASE("a full softmax has the right gradients, tied or not", "[models][softmax][gradient]") {
  Generator generator(2);
  for (const bool tied : {false, true}) {
    INFO("tied " << tied);
    const FullSoftmax softmax = built(tied);
    const Tensor ids = random_ids({4, 2}, 9, generator);
    const Tensor targets = random_ids({4, 2}, 9, generator);
    std::vector<Variable> checked = {random_parameter({4, 2, 5}, DType::f64, generator)};
    for (const Parameters& parameters :
         {softmax.embedding_parameters(), softmax.output_parameters()}) {
      for (const NamedVariable& p : parameters) {
        checked.push_back(p.variable);
      }
    }
    require_gradients(
        [&](std::span<const Variable> in) {
          const Variable h = add(in[0], softmax.embed(ids, {}));
          return std::vector<Variable>{softmax.loss(h, targets, {}), softmax.scores(h, {})};
        },
        checked);
  }
}

TEST_CASE("tied rows are one parameter", "[models][softmax]") {
  ModelConfig config = tiny_config();
  config.tie_weights = true;
  const auto tied = scrambled_model(config, 11);
  const auto untied = scrambled_model(tiny_config(), 11);
  std::vector<std::string> expected = names(untied->parameters());
  REQUIRE(expected.front() == "embedding.weight");
  REQUIRE(*(expected.end() - 2) == "output.weight");
  expected.erase(expected.end() - 2);
  REQUIRE(names(tied->parameters()) == expected);
  REQUIRE(count(tied->parameters()) == count(untied->parameters()) - 11 * 6);

  Generator generator(1);
  Initializer init(generator);
  REQUIRE_THAT(error_of([&] { FullSoftmax(9, 5, 4, 0.8, true, init); }),
               ContainsSubstring("of the size of embedding rows, 5; this stack's have 4"));
}

TEST_CASE("a model's loss is that of its scores", "[models][softmax]") {
  Generator generator(3);
  const Tensor ids = random_ids({7, 2}, 11, generator);
  const Tensor targets = random_ids({7, 2}, 11, generator);
  ModelConfig tied = tiny_config();
  tied.tie_weights = true;
  ModelConfig adaptive = tiny_config();
  adaptive.softmax = SoftmaxType::adaptive;
  adaptive.cutoffs = std::vector<std::int64_t>{4, 7};
  for (const ModelConfig& config : {tiny_config(), tied, adaptive}) {
    const auto model = scrambled_model(config, 11, DType::f64, 1, test_device());
    LanguageModelState of_scores;
    LanguageModelState of_loss;
    LanguageModelState of_sum;
    const LanguageModelContext context{{}, 3, 0};
    for (const std::int64_t start : {0, 4}) {
      const Tensor in = ids.narrow(start, 3);
      const Tensor out = targets.narrow(start, 3);
      const Variable scores = model->logits(in, of_scores, context);
      const double mean = cross_entropy(scores, out).value().item();
      REQUIRE(model->loss(in, out, of_loss, context).value().item() == Approx(mean).epsilon(1e-12));
      REQUIRE(model->loss_sum(in, out, of_sum, context).item() == Approx(6 * mean).epsilon(1e-12));
    }
    for (std::size_t i = 0; i < of_scores.named().size(); ++i) {  // moved on alike
      REQUIRE(same_bits(of_loss.named()[i].tensor, of_scores.named()[i].tensor));
      REQUIRE(same_bits(of_sum.named()[i].tensor, of_scores.named()[i].tensor));
    }
    REQUIRE(model->reads_ids_on_cpu() == (config.softmax == SoftmaxType::adaptive));
  }
  const auto model = scrambled_model(tiny_config(), 11, DType::f32, 1, test_device());
  LanguageModelState state;
  REQUIRE_THAT(error_of([&] { model->loss_sum(ids, targets.narrow(0, 6), state, {}); }),
               ContainsSubstring("targets has shape [6, 2]; expected [7, 2]"));
}

TEST_CASE("a sum of losses is made in pieces that fit", "[models][softmax]") {
  Generator generator(4);
  const Tensor h = random_tensor({7, 5}, DType::f64, generator);
  const Tensor targets = random_ids({7}, 5, generator);
  const double whole = cross_entropy_sum(h, targets).item();
  std::vector<std::int64_t> pieces;
  const auto sum = [&](std::int64_t width) {
    pieces.clear();
    return chunked_loss_sum(h, targets, width,
                            [&](const Tensor& rows) {
                              pieces.push_back(rows.size(0));
                              return rows;
                            })
        .item();
  };
  REQUIRE(sum(5) == Approx(whole).epsilon(1e-14));
  REQUIRE(pieces == std::vector<std::int64_t>{7});
  REQUIRE(sum(std::int64_t{1} << 24) == Approx(whole).epsilon(1e-14));
  REQUIRE(pieces == std::vector<std::int64_t>{4, 3});
  REQUIRE(sum(std::int64_t{1} << 40) == Approx(whole).epsilon(1e-14));  // a row at least
  REQUIRE(pieces == std::vector<std::int64_t>(7, 1));
}
