// Operations counted by hand, and against the weights of the models themselves.
#include "models/flops.h"

#include "models/language_model.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

constexpr std::int64_t kVocabulary = 5;

// d = 8, three layers.
ModelConfig small(ModelType type, std::int64_t projection_size) {
  ModelConfig config;
  config.type = type;
  config.hidden_size = 8;
  config.num_layers = 3;
  config.projection_size = projection_size;
  return config;
}

ModelConfig attending_in(std::vector<std::int64_t> layers) {
  ModelConfig config = small(ModelType::srupp, 4);
  config.attention_layers = std::move(layers);
  return config;
}

// Elements of all matrices that rows are multiplied with: the embedding is looked up.
std::int64_t matrix_elements(const ModelConfig& config) {
  Generator generator(1);
  Initializer init(generator, Device::meta());
  std::int64_t elements = 0;
  for (const NamedVariable& p : build_language_model(config, kVocabulary, init)->parameters()) {
    if (p.variable.shape().rank() == 2 && p.name != "embedding.weight") {
      elements += p.variable.value().numel();
    }
  }
  return elements;
}

}  // namespace

TEST_CASE("operations of a step are as counted by hand", "[models][flops]") {
  // B = 2 streams of T = 3 positions: R = 6 rows, M B = 6 rows of memory.
  const SegmentSize segment{2, 3, 3};
  const auto flops = [&](const ModelConfig& config) {
    const TrainingFlops f = training_flops(config, kVocabulary, segment);
    REQUIRE(f.output == 6 * 6 * 8 * 5);
    REQUIRE(f.total() == f.layer_products + f.attention + f.output);
    return std::pair(f.layer_products, f.attention);
  };
  // Three products of 6 rows with 8 x 24 in each of three layers.
  REQUIRE(flops(small(ModelType::sru, 0)) == std::pair(3.0 * 6912, 0.0));
  // 8 x 4 and 4 x 24: 1152 + 3456 a layer.
  REQUIRE(flops(small(ModelType::sru, 4)) == std::pair(3.0 * 4608, 0.0));
  REQUIRE(flops(attending_in({})) == std::pair(3.0 * 4608, 0.0));
  // Of the input, 6 rows with 8 x 32, and as much of h before but for 2 rows without a gradient:
  // 9216 + 9216 - 2 x 2 x 8 x 32 a layer.
  REQUIRE(flops(small(ModelType::lstm, 0)) == std::pair(3.0 * (2 * 9216 - 1024), 0.0));
  // As much and 8 x 16 of Boom in each layer of a SHA-LSTM; in the second a query of 8 x 8, a gate
  // of 8 x 16 on one row, and 15 pairs in each of 2 streams, at 12 x 8 each.
  ModelConfig sha_lstm = small(ModelType::sha_lstm, 0);
  sha_lstm.inner_size = 16;
  REQUIRE(flops(sha_lstm) ==
          std::pair(3.0 * (2 * 9216 - 1024 + 4608) + 2304 + 768, 2 * 15 * 12 * 8.0));
  sha_lstm.attention_layers = std::vector<std::int64_t>{};
  REQUIRE(flops(sha_lstm) == std::pair(3.0 * (2 * 9216 - 1024 + 4608), 0.0));
  // More in a layer that attends: memory's projection without the gradient of memory (2 x 2 x 6 x
  // 8 x 4 = 768), keys and values of 12 rows (3 x 2 x 12 x 4 x 8 = 2304). Of 2 streams each sees
  // (3 + 1) + (3 + 2) + (3 + 3) = 15 pairs, at 12 x 4 each.
  REQUIRE(flops(attending_in({2})) == std::pair(3.0 * 4608 + 768 + 2304, 1440.0));
  REQUIRE(flops(attending_in({1, 2, 3})) == std::pair(3.0 * (4608 + 768 + 2304), 3 * 1440.0));
  ModelConfig heads = attending_in({1, 2, 3});
  heads.num_heads = 2;
  REQUIRE(flops(heads) == flops(attending_in({1, 2, 3})));
}

TEST_CASE("operations of Transformers are as counted by hand", "[models][flops]") {
  ModelConfig config = small(ModelType::transformer, 0);
  config.num_heads = 2;
  config.inner_size = 16;
  // 6 rows with 8 x (8 + 16 + 8 + 16 + 16), and of 2 streams each sees 1 + 2 + 3 pairs, at 12 x 8
  // each: memory is not read in training.
  const TrainingFlops plain = training_flops(config, kVocabulary, {2, 3, 3});
  REQUIRE(plain.layer_products == 3.0 * 6 * 6 * 8 * 64);
  REQUIRE(plain.attention == 3.0 * 2 * 6 * 12 * 8);
  REQUIRE(plain.output == 6 * 6 * 8 * 5);
  // Beside that, 6 rows of memory with 8 x 16 and 6 distances with 8 x 8, without the gradient of
  // either; 15 pairs at 18 x 8 each.
  config.type = ModelType::transformer_xl;
  const TrainingFlops xl = training_flops(config, kVocabulary, {2, 3, 3});
  REQUIRE(xl.layer_products == 3.0 * (6 * 6 * 8 * 64 + 4 * 6 * 8 * 16 + 4 * 6 * 8 * 8));
  REQUIRE(xl.attention == 3.0 * 2 * 15 * 18 * 8);
  // All heads together count, whatever hidden_size.
  config.head_size = 3;
  REQUIRE(training_flops(config, kVocabulary, {2, 3, 3}).attention == 3.0 * 2 * 15 * 18 * 6);
}

TEST_CASE("an adaptive softmax counts as for ids of its first cluster", "[models][flops]") {
  ModelConfig config = small(ModelType::sru, 0);
  config.softmax = SoftmaxType::adaptive;
  config.cutoffs = std::vector<std::int64_t>{2, 3};
  config.embedding_size = 6;
  // 6 rows: 6 x 8 twice, and 6 x 4 for two ids and two clusters.
  REQUIRE(training_flops(config, kVocabulary, {2, 3, 3}).output ==
          2 * 6 * 6 * 6 * 8 + 6 * 6 * 6 * 4);
  config.embedding_size = 0;  // 8
  REQUIRE(training_flops(config, kVocabulary, {2, 3, 3}).output ==
          2 * 6 * 6 * 8 * 8 + 6 * 6 * 8 * 4);
}

TEST_CASE("without memory only the segment's own half is attended to", "[models][flops]") {
  const TrainingFlops flops = training_flops(attending_in({2}), kVocabulary, {2, 3, 0});
  REQUIRE(flops.layer_products == 3 * 4608 + 6 * 6 * 4 * 8);
  REQUIRE(flops.attention == 12 * 4 * 2 * (1 + 2 + 3));
}

TEST_CASE("every matrix of a model is counted", "[models][flops]") {
  const SegmentSize segment{4, 7, 0};
  ModelConfig no_skip = small(ModelType::sru, 0);
  no_skip.has_skip_term = false;
  ModelConfig transformer = small(ModelType::transformer, 0);
  transformer.num_heads = 3;
  transformer.head_size = 5;
  transformer.inner_size = 7;
  for (const ModelConfig& config :
       {small(ModelType::sru, 0), small(ModelType::sru, 3), no_skip, transformer, attending_in({}),
        attending_in({2}), attending_in({1, 2, 3})}) {
    const TrainingFlops flops = training_flops(config, kVocabulary, segment);
    REQUIRE(flops.layer_products + flops.output ==
            static_cast<double>(6 * 4 * 7 * matrix_elements(config)));
  }
}
