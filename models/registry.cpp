// From a config to a model. A new type of model: add it to ModelType, and a builder to the table.
#include <array>

#include "models/language_model.h"
#include "models/lstm.h"
#include "models/recurrent_language_model.h"
#include "models/sha_lstm.h"
#include "models/sru.h"
#include "models/srupp.h"
#include "models/transformer.h"
#include "models/transformer_xl.h"

namespace rondo {
namespace {

StackOptions stack_options(const ModelConfig& config) {
  StackOptions stack;
  stack.input_size = config.hidden_size;
  stack.num_layers = config.num_layers;
  stack.dropout = config.dropout;
  stack.layer.hidden_size = config.hidden_size;
  stack.layer.has_skip_term = config.has_skip_term;
  stack.layer.activation = config.activation;
  stack.layer.layer_norm = config.layer_norm;
  stack.layer.highway_bias = config.highway_bias;
  stack.layer.rescale = config.rescale;
  stack.layer.weight_c_init = config.weight_c_init;
  return stack;
}

std::unique_ptr<RecurrentStack> build_sru(const ModelConfig& config, Initializer& init) {
  return std::make_unique<SruStack>(
      make_sru({stack_options(config), config.projection_size}, init));
}

std::unique_ptr<RecurrentStack> build_srupp(const ModelConfig& config, Initializer& init) {
  SruppOptions options;
  options.stack = stack_options(config);
  options.transform.projection_size = config.projection_size;
  options.transform.num_heads = config.num_heads;
  options.transform.dropout = config.dropout;
  options.transform.attention_dropout = config.attention_dropout;
  options.transform.layer_norm = config.attention_layer_norm;
  options.transform.normalize_after = config.attention_normalize_after;
  options.attends = [&](std::int64_t layer) { return layer_attends(config, layer); };
  return std::make_unique<SruStack>(make_srupp(options, init));
}

std::unique_ptr<RecurrentStack> build_lstm(const ModelConfig& config, Initializer& init) {
  return std::make_unique<LstmStack>(
      LstmOptions{config.hidden_size, config.hidden_size, config.num_layers, config.dropout}, init);
}

std::unique_ptr<RecurrentStack> build_sha_lstm(const ModelConfig& config, Initializer& init) {
  ShaLstmOptions options;
  options.hidden_size = config.hidden_size;
  options.num_layers = config.num_layers;
  options.inner_size = config.inner_size;
  options.num_heads = config.num_heads;
  options.dropout = config.dropout;
  options.attention_dropout = config.attention_dropout;
  options.attends = [&](std::int64_t layer) { return layer_attends(config, layer); };
  return std::make_unique<ShaLstmStack>(options, init);
}

TransformerOptions transformer_options(const ModelConfig& config) {
  TransformerOptions options;
  options.hidden_size = config.hidden_size;
  options.num_layers = config.num_layers;
  options.num_heads = config.num_heads;
  options.head_size =
      config.head_size > 0 ? config.head_size : config.hidden_size / config.num_heads;
  options.inner_size = config.inner_size;
  options.dropout = config.dropout;
  options.attention_dropout = config.attention_dropout;
  return options;
}

std::unique_ptr<RecurrentStack> build_transformer(const ModelConfig& config, Initializer& init) {
  return std::make_unique<TransformerStack>(transformer_options(config), init);
}

std::unique_ptr<RecurrentStack> build_transformer_xl(const ModelConfig& config, Initializer& init) {
  return std::make_unique<TransformerXlStack>(transformer_options(config), init);
}

// What would divide by zero further on, or be passed over in silence.
void check_config(const ModelConfig& config) {
  const int ways = int{config.attention_every_n_layers.has_value()} +
                   int{config.attention_last_n_layers.has_value()} +
                   int{config.attention_layers.has_value()};
  check(ways <= 1, "[language model] {} ways to choose the layers that attend; give at most one",
        ways);
  check(config.attention_every_n_layers.value_or(1) >= 1,
        "[language model] attention_every_n_layers is {}; expected 1 or more",
        config.attention_every_n_layers.value_or(1));
  for (const std::int64_t layer : config.attention_layers.value_or(std::vector<std::int64_t>{})) {
    check(layer >= 1 && layer <= config.num_layers,
          "[language model] layer {} is to attend; expected 1 to {}", layer, config.num_layers);
  }
  check(config.num_heads >= 1 && config.head_size >= 0 && config.projection_size >= 0 &&
            config.embedding_size >= 0 && config.div_val >= 1,
        "[language model] num_heads {}, head_size {}, projection_size {}, embedding_size {} and "
        "div_val {}: expected 1, 0, 0, 0 and 1 or more",
        config.num_heads, config.head_size, config.projection_size, config.embedding_size,
        config.div_val);
  for (const double p : {config.dropout, config.attention_dropout, config.embedding_dropout}) {
    check(p >= 0.0 && p < 1.0, "[language model] dropout is {}; expected 0 <= p < 1", p);
  }
  const bool transformer =
      config.type == ModelType::transformer || config.type == ModelType::transformer_xl;
  check(!transformer || config.head_size > 0 || config.hidden_size % config.num_heads == 0,
        "[language model] {} heads do not divide hidden_size {}", config.num_heads,
        config.hidden_size);
}

struct StackBuilder {
  ModelType type;
  std::unique_ptr<RecurrentStack> (*build)(const ModelConfig&, Initializer&);
};

constexpr std::array kStackBuilders = {
    StackBuilder{ModelType::sru, build_sru},
    StackBuilder{ModelType::srupp, build_srupp},
    StackBuilder{ModelType::lstm, build_lstm},
    StackBuilder{ModelType::sha_lstm, build_sha_lstm},
    StackBuilder{ModelType::transformer, build_transformer},
    StackBuilder{ModelType::transformer_xl, build_transformer_xl},
};

}  // namespace

std::unique_ptr<LanguageModel> build_language_model(const ModelConfig& config,
                                                    std::int64_t vocabulary_size,
                                                    Initializer& init) {
  check(vocabulary_size >= 1, "[language model] a vocabulary of {} ids is not possible",
        vocabulary_size);
  check_config(config);
  for (const StackBuilder& builder : kStackBuilders) {
    if (builder.type == config.type) {
      auto stack = builder.build(config, init);
      auto vocabulary =
          build_vocabulary_layers(config, vocabulary_size, stack->output_size(), init);
      return std::make_unique<RecurrentLanguageModel>(std::move(stack), std::move(vocabulary),
                                                      config.dropout);
    }
  }
  fail("[language model] model type {} has no builder", static_cast<int>(config.type));
}

}  // namespace rondo
