// How many parameters models have, and what they start from.
#include <cmath>
#include <map>
#include <set>

#include "tests/support/tiny_model.h"
#include "trainers/config_yaml.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

constexpr std::int64_t kVocabulary = 11;

std::map<std::string, Variable> built(const ModelConfig& config, std::uint64_t seed = 7,
                                      std::int64_t vocabulary_size = kVocabulary) {
  Generator generator(seed);
  Initializer init(generator);
  std::map<std::string, Variable> parameters;
  for (const auto& [name, variable] :
       build_language_model(config, vocabulary_size, init)->parameters()) {
    REQUIRE(variable.requires_grad());
    REQUIRE(parameters.emplace(name, variable).second);
  }
  return parameters;
}

// Requires values spread over +-range: none beyond, some near both ends, and about as many above
// zero as below.
void require_uniform(const Variable& parameter, double range) {
  double lowest = 0.0;
  double highest = 0.0;
  double sum = 0.0;
  for (const float value : parameter.value().values<float>()) {
    lowest = std::min(lowest, static_cast<double>(value));
    highest = std::max(highest, static_cast<double>(value));
    sum += value;
  }
  const auto count = static_cast<double>(parameter.value().numel());
  REQUIRE(count >= 100);  // else the rest says little
  REQUIRE(highest <= range * (1 + 1e-6));
  REQUIRE(lowest >= -range * (1 + 1e-6));
  REQUIRE(highest > 0.9 * range);
  REQUIRE(lowest < -0.9 * range);
  // Five deviations of the mean of uniform values.
  REQUIRE(std::abs(sum / count) < 5.0 * range / std::sqrt(3.0 * count));
}

void require_all(const Variable& parameter, double expected) {
  for (const float value : parameter.value().values<float>()) {
    REQUIRE(value == static_cast<float>(expected));
  }
}

Config shipped(const std::string& name) {
  return load_config(std::filesystem::path(RONDO_SOURCE_DIR) / "configs" / (name + ".yaml"));
}

double xavier(double out, double in) { return std::sqrt(6.0 / (in + out)); }

}  // namespace

TEST_CASE("the published Enwik8 models have their numbers of parameters",
          "[models][parameters][cpu]") {
  const std::map<std::string, std::int64_t> published = {{"enwik8_42m", 42'345'815},
                                                         {"enwik8_108m", 107'566'295},
                                                         {"enwik8_191m", 190'607'575},
                                                         {"enwik8_195m", 194'993'815}};
  for (const auto& [name, parameters] : published) {
    INFO(name);
    const Config config = shipped(name);
    Generator generator(1);
    Initializer init(generator, Device::meta());
    REQUIRE(count(build_language_model(config.model, 205, init)->parameters()) == parameters);
  }
}

TEST_CASE("configurations have the published numbers of parameters", "[models][parameters][cpu]") {
  int published = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(RONDO_SOURCE_DIR) / "configs")) {
    if (entry.is_directory()) {
      continue;
    }
    INFO(entry.path());
    const Config config = load_config(entry.path());
    Generator generator(1);
    Initializer init(generator, Device::meta());  // shapes alone
    const auto model = build_language_model(config.model, published_vocabulary(config), init);
    if (config.published.parameters > 0) {
      const auto found = static_cast<double>(count(model->parameters()));
      CHECK(found == Approx(config.published.parameters).epsilon(0.01));
      ++published;
    }
  }
  REQUIRE(published > 0);
}

TEST_CASE("the models of the small comparison have one size", "[models][parameters][cpu]") {
  std::map<std::string, double> sizes;
  for (const char* name : {"small_srupp", "small_lstm", "small_sha_lstm", "small_transformer",
                           "small_transformer_xl"}) {
    Generator generator(1);
    Initializer init(generator, Device::meta());
    const Config config = shipped(name);
    sizes[name] = static_cast<double>(count(
        build_language_model(config.model, published_vocabulary(config), init)->parameters()));
  }
  for (const auto& [name, size] : sizes) {
    INFO(name);
    REQUIRE(size == Approx(sizes.at("small_srupp")).epsilon(0.02));
  }
}

TEST_CASE("SRU++ starts as the reference does", "[models][parameters]") {
  ModelConfig config;
  config.hidden_size = 60;
  config.num_layers = 2;
  config.projection_size = 20;
  config.attention_layers = {1};
  config.dropout = 0.36;
  config.highway_bias = -2;
  const auto p = built(config);

  const std::string attends = "rnn.layers.0.transform.";
  require_uniform(p.at(attends + "linear1.weight"), xavier(20, 60));
  require_uniform(p.at(attends + "linear2.weight"), xavier(40, 20));
  require_uniform(p.at(attends + "linear3.weight"), std::sqrt(1 - 0.36) * xavier(180, 20));
  require_all(p.at(attends + "alpha"), 0);
  require_all(p.at(attends + "layer_norm.weight"), 1);
  require_all(p.at(attends + "layer_norm.bias"), 0);
  const std::string linear = "rnn.layers.1.transform.";
  require_uniform(p.at(linear + "linear1.weight"), xavier(20, 60));
  require_uniform(p.at(linear + "linear2.weight"), std::sqrt(1 - 0.36) * xavier(180, 20));
  REQUIRE_FALSE(p.contains(linear + "linear3.weight"));
  for (const std::string layer : {"rnn.layers.0.", "rnn.layers.1."}) {
    require_uniform(p.at(layer + "weight_c"), 1.0);
    const Tensor& bias = p.at(layer + "bias").value();
    require_all(Variable(bias.narrow(0, 60)), 0);    // forget
    require_all(Variable(bias.narrow(60, 60)), -2);  // reset
  }
  require_uniform(p.at("embedding.weight"), std::sqrt(3.0 / 60));
  require_uniform(p.at("output.weight"), std::sqrt(3.0 / 60));
  require_all(p.at("output.bias"), 0);
}

TEST_CASE("SRU starts as the reference does", "[models][parameters]") {
  ModelConfig config;
  config.type = ModelType::sru;
  config.hidden_size = 60;
  config.num_layers = 2;
  config.dropout = 0.36;  // scales nothing: no dropout stands before SRU's product
  config.weight_c_init = 0.5;
  config.layer_norm = LayerNormPlace::post;
  const auto full = built(config);
  require_uniform(full.at("rnn.layers.0.transform.linear1.weight"), xavier(180, 60));
  require_uniform(full.at("rnn.layers.1.weight_c"), 0.5);
  require_all(full.at("rnn.layers.1.layer_norm.weight"), 1);
  require_all(full.at("rnn.layers.1.layer_norm.bias"), 0);

  config.projection_size = 15;
  const auto projected = built(config);
  require_uniform(projected.at("rnn.layers.1.transform.linear1.weight"), xavier(15, 60));
  require_uniform(projected.at("rnn.layers.1.transform.linear2.weight"), xavier(180, 15));
}

TEST_CASE("embeddings can start by the size of the vocabulary", "[models][parameters]") {
  ModelConfig config = tiny_config();
  config.hidden_size = 60;
  config.embedding_init = EmbeddingInit::vocabulary;
  const auto p = built(config, 7, 33);
  require_uniform(p.at("embedding.weight"), std::sqrt(3.0 / 33));
  require_uniform(p.at("output.weight"), std::sqrt(3.0 / 33));
}

TEST_CASE("a seed fixes every weight and no two weights are alike", "[models][parameters]") {
  const auto first = built(tiny_config(), 3);
  const auto again = built(tiny_config(), 3);
  const auto other = built(tiny_config(), 4);
  std::set<std::string> drawn;
  for (const auto& [name, parameter] : first) {
    INFO(name);
    REQUIRE(same_bits(parameter.value(), again.at(name).value()));
    const auto values = parameter.value().values<float>();
    const bool constant = std::all_of(values.begin(), values.end(),
                                      [&](float value) { return value == values.front(); });
    if (!constant && !name.ends_with(".bias")) {
      REQUIRE_FALSE(same_bits(parameter.value(), other.at(name).value()));
      const auto bytes = std::as_bytes(values.first(4));
      REQUIRE(drawn.emplace(reinterpret_cast<const char*>(bytes.data()), bytes.size()).second);
    }
  }
  REQUIRE(drawn.size() == 3 * 4 + 2);  // of every layer three products and weight_c; two matrices
}
