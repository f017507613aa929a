#include "models/reference_state.h"

#include <map>

#include "tests/support/tiny_model.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

using Names = std::vector<std::string>;

Names reference_names(const ModelConfig& config) {
  const Parameters parameters = scrambled_model(config, 5)->parameters();
  Names names;
  for (const NamedVariable& parameter : parameters) {
    names.push_back(reference_name(parameter.name, config.type, parameters));
  }
  return names;
}

ModelConfig one_layer(ModelType type, std::int64_t projection_size) {
  ModelConfig config = tiny_config();
  config.type = type;
  config.num_layers = 1;
  config.projection_size = projection_size;
  return config;
}

// The rows of a matrix of U as the reference keeps them: the k rows of a unit together.
Tensor interleaved(const Tensor& planes, std::int64_t units) {
  Tensor result = Tensor::empty(planes.shape(), planes.dtype());
  const std::int64_t k = planes.size(0) / units;
  for (std::int64_t unit = 0; unit < units; ++unit) {
    for (std::int64_t j = 0; j < k; ++j) {
      result[unit * k + j].copy_from(planes[j * units + unit]);
    }
  }
  return result;
}

// The state dict that the reference would write for a model; `u_matrix` is the name by which ours
// ends that gives U.
std::map<std::string, Tensor> reference_state(const Parameters& parameters, ModelType type,
                                              const std::string& u_matrix, std::int64_t units) {
  std::map<std::string, Tensor> state;
  for (const NamedVariable& parameter : parameters) {
    const Tensor& ours = parameter.variable.value();
    state[reference_name(parameter.name, type, parameters)] =
        parameter.name.ends_with(u_matrix) ? interleaved(ours, units) : ours.clone();
  }
  return state;
}

}  // namespace

TEST_CASE("parameters have their names in the reference", "[models][reference]") {
  REQUIRE(reference_names(one_layer(ModelType::sru, 0)) ==
          Names{"embedding_layer.weight", "rnn.rnn_lst.0.transform_module.weight",
                "rnn.rnn_lst.0.weight_c", "rnn.rnn_lst.0.bias", "output_layer.weight",
                "output_layer.bias"});
  REQUIRE(reference_names(one_layer(ModelType::sru, 4)) ==
          Names{"embedding_layer.weight", "rnn.rnn_lst.0.transform_module.0.weight",
                "rnn.rnn_lst.0.transform_module.1.weight", "rnn.rnn_lst.0.weight_c",
                "rnn.rnn_lst.0.bias", "output_layer.weight", "output_layer.bias"});
  ModelConfig srupp = one_layer(ModelType::srupp, 4);
  srupp.layer_norm = LayerNormPlace::post;
  REQUIRE(reference_names(srupp) ==
          Names{"embedding_layer.weight", "rnn.rnn_lst.0.transform_module.linear1.weight",
                "rnn.rnn_lst.0.transform_module.linear2.weight",
                "rnn.rnn_lst.0.transform_module.linear3.weight",
                "rnn.rnn_lst.0.transform_module.alpha",
                "rnn.rnn_lst.0.transform_module.layer_norm.weight",
                "rnn.rnn_lst.0.transform_module.layer_norm.bias", "rnn.rnn_lst.0.weight_c",
                "rnn.rnn_lst.0.bias", "rnn.rnn_lst.0.layer_norm.weight",
                "rnn.rnn_lst.0.layer_norm.bias", "output_layer.weight", "output_layer.bias"});
}

TEST_CASE("an adaptive softmax has its names in the reference", "[models][reference]") {
  ModelConfig config = one_layer(ModelType::sru, 0);
  config.softmax = SoftmaxType::adaptive;
  config.cutoffs = std::vector<std::int64_t>{2};
  config.tie_projections = false;
  REQUIRE(reference_names(config) ==
          Names{"embedding_layer.emb_projs.0", "embedding_layer.emb_projs.1",
                "rnn.rnn_lst.0.transform_module.weight", "rnn.rnn_lst.0.weight_c",
                "rnn.rnn_lst.0.bias", "output_layer.out_layers.0.weight",
                "output_layer.out_layers.0.bias", "output_layer.out_layers.1.weight",
                "output_layer.out_layers.1.bias", "output_layer.out_projs.0",
                "output_layer.out_projs.1"});
}

TEST_CASE("a state of the reference fills a model", "[models][reference]") {
  struct Case {
    ModelType type;
    std::int64_t projection_size;
    std::optional<std::vector<std::int64_t>> attention_layers;
    std::string u_matrix;
  };
  const std::vector<Case> cases = {
      {ModelType::sru, 0, {}, "linear1.weight"},
      {ModelType::sru, 4, {}, "linear2.weight"},
      {ModelType::srupp, 4, {}, "linear3.weight"},
      {ModelType::srupp, 4, std::vector<std::int64_t>{}, "linear2.weight"},
  };
  for (const Case& c : cases) {
    INFO("model " << static_cast<int>(c.type) << ", projection " << c.projection_size);
    ModelConfig config = one_layer(c.type, c.projection_size);
    config.num_layers = 2;
    config.attention_layers = c.attention_layers;
    const Parameters saved = scrambled_model(config, 5, DType::f32, 1)->parameters();
    const Parameters loaded = scrambled_model(config, 5, DType::f32, 2)->parameters();
    const auto state = reference_state(saved, c.type, c.u_matrix, config.hidden_size);
    REQUIRE(state.size() == saved.size());
    load_reference(loaded, c.type, [&](const std::string& name) { return state.at(name); });
    for (std::size_t i = 0; i < saved.size(); ++i) {
      INFO(saved[i].name);
      REQUIRE(same_bits(loaded[i].variable.value(), saved[i].variable.value()));
    }
  }
}

TEST_CASE("layouts turn into each other", "[models][reference]") {
  // Two units with three values each: (u0 u1 u2) (u0 u1 u2) by units, (u0 u0)(u1 u1)(u2 u2) by
  // planes.
  const Tensor by_units = Tensor::from<float>({0, 10, 20, 1, 11, 21}, {6});
  const Tensor by_planes = Tensor::from<float>({0, 1, 10, 11, 20, 21}, {6});
  REQUIRE(same_bits(planes_from_interleaved(by_units, 2), by_planes));
  REQUIRE(
      same_bits(planes_from_interleaved(by_units.reshape({6, 1}), 2), by_planes.reshape({6, 1})));
  REQUIRE(same_bits(last_planes_from_interleaved(by_units.reshape({1, 6}), 2),
                    by_planes.reshape({1, 6})));
  Generator generator(1);
  const Tensor any = on_cpu(random_tensor({2, 3, 12}, DType::f64, generator));
  REQUIRE(same_bits(last_interleaved_from_planes(last_planes_from_interleaved(any, 4), 4), any));
  REQUIRE_THAT(error_of([&] { planes_from_interleaved(by_units, 4); }),
               ContainsSubstring("has no 4 units"));
}

TEST_CASE("a tensor of another shape is not taken from the reference", "[models][reference]") {
  const Parameters parameters = scrambled_model(tiny_config(), 5)->parameters();
  REQUIRE_THAT(error_of([&] {
                 load_reference(parameters, ModelType::srupp, [](const std::string&) {
                   return Tensor::zeros({2, 2});
                 });
               }),
               ContainsSubstring("embedding.weight has shape [2, 2]; expected [5, 6]"));
}
