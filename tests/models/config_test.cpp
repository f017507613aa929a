#include "models/config.h"

#include "tests/support/tiny_model.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

// The layers that attend, counted from 1.
std::vector<std::int64_t> attending(const ModelConfig& config) {
  std::vector<std::int64_t> layers;
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    if (layer_attends(config, i)) {
      layers.push_back(i + 1);
    }
  }
  return layers;
}

using Layers = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("the settings choose which layers attend", "[models][config]") {
  ModelConfig config = tiny_config();
  config.num_layers = 10;
  REQUIRE(attending(config) == Layers{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  SECTION("every n-th") {
    config.attention_every_n_layers = 5;
    REQUIRE(attending(config) == Layers{5, 10});
    config.attention_every_n_layers = 10;
    REQUIRE(attending(config) == Layers{10});
    config.attention_every_n_layers = 3;
    REQUIRE(attending(config) == Layers{3, 6, 9});
  }
  SECTION("the last n") {
    config.attention_last_n_layers = 2;
    REQUIRE(attending(config) == Layers{9, 10});
    config.attention_last_n_layers = 0;
    REQUIRE(attending(config).empty());
  }
  SECTION("those listed") {
    config.attention_layers = Layers{1, 7};
    REQUIRE(attending(config) == Layers{1, 7});
    config.attention_layers = Layers{};
    REQUIRE(attending(config).empty());
  }
  SECTION("of a SHA-LSTM the last but one, or as set") {
    config.type = ModelType::sha_lstm;
    REQUIRE(attending(config) == Layers{9});
    config.attention_every_n_layers = 1;
    REQUIRE(attending(config) == Layers{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
    config.attention_every_n_layers.reset();
    config.attention_layers = Layers{};
    REQUIRE(attending(config).empty());
    config.attention_layers.reset();
    config.num_layers = 1;
    REQUIRE(attending(config) == Layers{1});
  }
  SECTION("never with SRU") {
    config.type = ModelType::sru;
    REQUIRE(attending(config).empty());
  }
}

TEST_CASE("layers have the parameters of what they are", "[models][config]") {
  ModelConfig config = tiny_config();
  config.attention_layers = Layers{2};
  const auto attention_parameters = [](const ModelConfig& of) {
    Layers layers;
    for (const NamedVariable& parameter : scrambled_model(of, 5)->parameters()) {
      if (parameter.name.ends_with(".alpha")) {
        layers.push_back(parameter.name.at(std::string("rnn.layers.").size()) - '0');
      }
    }
    return layers;
  };
  REQUIRE(attention_parameters(config) == Layers{1});  // names count from 0
  config.attention_layers = Layers{};
  REQUIRE(attention_parameters(config).empty());
  config.attention_layers.reset();
  REQUIRE(attention_parameters(config) == Layers{0, 1, 2});
}
