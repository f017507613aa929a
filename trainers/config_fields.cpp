#include "trainers/config_fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "core/error.h"

namespace rondo {
namespace {

constexpr Limits at_least(double low) { return {.low = low}; }
constexpr Limits above(double low) { return {.low = low, .low_open = true}; }
constexpr Limits from_to_below(double low, double high) {
  return {.low = low, .high = high, .high_open = true};
}
constexpr Limits from_to(double low, double high) { return {.low = low, .high = high}; }
constexpr Limits any;

// More than anybody means; what counts with them must not overflow.
constexpr double kMostThreads = 4096;
constexpr double kMostLayers = 10'000;
constexpr double kMostPositions = 1 << 30;

constexpr std::array<std::string_view, 6> kTypeNames = {
    "sru", "srupp", "lstm", "sha_lstm", "transformer", "transformer_xl"};

template <typename Enum>
Choice choice(Enum& member, std::vector<std::string_view> names) {
  return {std::move(names), [&member] { return static_cast<std::size_t>(member); },
          [&member](std::size_t index) { member = static_cast<Enum>(index); }};
}

std::vector<Field> fields(RunConfig& c) {
  return {
      {"folder", &c.folder, any, "where the run is kept; empty: runs/<name of the config file>"},
      {"seed", &c.seed, any, "fixes the initial weights and dropout"},
      {"device", &c.device, any, "cpu, cuda or cuda:N"},
      {"threads", &c.threads, from_to(0, kMostThreads), "CPU threads; 0: one per core"},
  };
}

std::vector<Field> fields(DataConfig& c) {
  return {
      {"corpus", &c.corpus, any, "builtin, or a folder made by `rondo prepare`"},
  };
}

std::vector<Field> fields(ModelConfig& c) {
  const std::vector<ModelType> sru = {ModelType::sru};
  const std::vector<ModelType> srupp = {ModelType::srupp};
  const std::vector<ModelType> sru_and_srupp = {ModelType::sru, ModelType::srupp};
  const std::vector<ModelType> transformers = {ModelType::transformer, ModelType::transformer_xl};
  const std::vector<ModelType> feed_forward = {ModelType::sha_lstm, ModelType::transformer,
                                               ModelType::transformer_xl};
  const std::vector<ModelType> attending = {ModelType::srupp, ModelType::sha_lstm,
                                            ModelType::transformer, ModelType::transformer_xl};
  const std::vector<ModelType> partly_attending = {ModelType::srupp, ModelType::sha_lstm};
  return {
      {"type", choice(c.type, {kTypeNames.begin(), kTypeNames.end()}), any, "kind of every layer"},
      {"hidden_size", &c.hidden_size, at_least(1), "units of a layer, d"},
      {"num_layers", &c.num_layers, from_to(1, kMostLayers), "layers on top of each other"},
      {"projection_size", &c.projection_size, at_least(0),
       "width of the projection, n; srupp needs it, 0 means none for sru", sru_and_srupp},
      {"num_heads", &c.num_heads, at_least(1),
       "attention heads; must divide projection_size, or hidden_size without head_size", attending},
      {"head_size", &c.head_size, at_least(0),
       "size of queries, keys and values of a head; 0: hidden_size / num_heads", transformers},
      {"inner_size", &c.inner_size, at_least(0),
       "units inside the feed-forward part of a layer; sha_lstm: a multiple of hidden_size",
       feed_forward},
      {"attention_every_n_layers", &c.attention_every_n_layers, at_least(1),
       "layer i, from 1, attends when i mod n = 0; without any of these three every layer of srupp "
       "attends, and the last but one of sha_lstm",
       partly_attending},
      {"attention_last_n_layers", &c.attention_last_n_layers, at_least(0),
       "the last n layers attend; 0: none", partly_attending},
      {"attention_layers", &c.attention_layers, at_least(1),
       "the listed layers attend, counted from 1; []: none", partly_attending},
      {"dropout", &c.dropout, from_to_below(0, 1),
       "dropout after the embedding, inside and between layers, and before the output"},
      {"attention_dropout", &c.attention_dropout, from_to_below(0, 1),
       "dropout of attention weights", attending},
      {"highway_bias", &c.highway_bias, any, "initial bias of the reset gate", sru_and_srupp},
      {"weight_c_init", &c.weight_c_init, at_least(0), "weight_c starts uniform in +-this",
       sru_and_srupp},
      {"rescale", &c.rescale, any, "scale the skip term by sqrt(1 + 2 exp(highway_bias))",
       sru_and_srupp},
      {"has_skip_term", &c.has_skip_term, any, "add a layer's input to its output", sru},
      {"activation", choice(c.activation, {"identity", "tanh"}), any, "g in h = g(c)", sru},
      {"layer_norm", choice(c.layer_norm, {"none", "pre", "post"}), any,
       "LayerNorm of a whole layer: on its input or on its output; with pre, what attention sees "
       "depends on where segments begin",
       sru_and_srupp},
      {"attention_layer_norm", &c.attention_layer_norm, any, "LayerNorm over the projection",
       srupp},
      {"attention_normalize_after", &c.attention_normalize_after, any,
       "that LayerNorm after attention, not before", srupp},
      {"embedding_init", choice(c.embedding_init, {"hidden_size", "vocabulary"}), any,
       "embedding and output weights start uniform in +-sqrt(3 / this size)"},
      {"softmax", choice(c.softmax, {"full", "adaptive"}), any,
       "scores of all ids at once, or of frequent ids and of clusters of the others"},
      {"tie_weights", &c.tie_weights, any,
       "full softmax: the embedding's rows are the output's; adaptive: they always are"},
      {"cutoffs", &c.cutoffs, at_least(1),
       "adaptive softmax: the first id of every cluster but the first, increasing"},
      {"embedding_size", &c.embedding_size, at_least(0),
       "adaptive softmax: size of the rows of the first cluster; 0: hidden_size"},
      {"div_val", &c.div_val, at_least(1),
       "adaptive softmax: that size is divided by this from one cluster to the next"},
      {"tie_projections", &c.tie_projections, any,
       "adaptive softmax: input and output share the products between these sizes and hidden_size"},
      {"embedding_dropout", &c.embedding_dropout, from_to_below(0, 1),
       "adaptive softmax: dropout of embedding rows, and before the output's product"},
  };
}

std::vector<Field> fields(TrainingConfig& c) {
  return {
      {"steps", &c.steps, at_least(1), "optimizer steps"},
      {"batch_size", &c.batch_size, at_least(1), "streams read side by side, B"},
      {"unroll", &c.unroll, from_to(1, kMostPositions), "positions of one segment, T"},
      {"accumulation_steps", &c.accumulation_steps, at_least(1),
       "segments whose gradients are averaged in one step"},
      {"clip_grad_norm", &c.clip_grad_norm, at_least(0),
       "limit to the norm of all gradients together; 0: no clipping"},
      {"precision", choice(c.precision, {"f32", "bf16", "tf32", "f16"}), any,
       "of the operands of matrix products; with bf16 and f16, on a GPU of activations, too; tf32 "
       "and f16 need a GPU"},
      {"loss_scale", &c.loss_scale, at_least(1),
       "first factor of the loss with f16, so that small gradients do not vanish; adapts itself"},
  };
}

std::vector<Field> fields(OptimizerConfig& c) {
  return {
      {"type", choice(c.type, {"radam", "adam", "adamw", "sgd"}), any,
       "rule that turns gradients into steps"},
      {"lr", &c.lr, above(0), "highest learning rate"},
      {"beta1", &c.beta1, from_to_below(0, 1), "decay of the gradient's mean"},
      {"beta2", &c.beta2, from_to_below(0, 1), "decay of the gradient's mean square"},
      {"eps", &c.eps, above(0), "added to the root of the mean square"},
      {"weight_decay", &c.weight_decay, at_least(0),
       "decoupled, except for adam and sgd, where it is added to the gradient"},
      {"momentum", &c.momentum, from_to_below(0, 1), "momentum of sgd; 0: none"},
  };
}

std::vector<Field> fields(ScheduleConfig& c) {
  return {
      {"type", choice(c.type, {"cosine", "constant"}), any,
       "course of the learning rate after warm-up"},
      {"warmup_steps", &c.warmup_steps, at_least(0), "steps of linear rise"},
      {"warmup_from_zero", &c.warmup_from_zero, any,
       "the rise starts at 0, not at lr / warmup_steps, and stops short of lr as much"},
      {"total_steps", &c.total_steps, at_least(0), "where the cosine ends; 0: training.steps"},
  };
}

std::vector<Field> fields(EvaluationConfig& c) {
  return {
      {"every", &c.every, at_least(0), "steps between evaluations on dev; 0: only at the end"},
      {"unroll", &c.unroll, from_to(0, kMostPositions),
       "positions of one window; 0: training.unroll"},
      {"batch_size", &c.batch_size, at_least(1), "streams that dev is cut into"},
      {"max_tokens", &c.max_tokens, at_least(0),
       "how much of dev evaluations on the way read; 0: all"},
      {"test_at_end", &c.test_at_end, any,
       "evaluate the best checkpoint on the whole of dev and test"},
  };
}

std::vector<Field> fields(CheckpointConfig& c) {
  return {
      {"every", &c.every, at_least(0), "steps between saves of the last state; 0: at the end"},
  };
}

std::vector<Field> fields(LoggingConfig& c) {
  return {
      {"every", &c.every, at_least(1), "steps between metrics"},
      {"tensorboard", &c.tensorboard, any, "write TensorBoard event files, too"},
  };
}

std::vector<Field> fields(SampleConfig& c) {
  return {
      {"length", &c.length, at_least(0), "bytes of text shown at the end; 0: none"},
      {"temperature", &c.temperature, above(0), "below 1: likelier text; above 1: more varied"},
      {"prompt", &c.prompt, any, "text that the sample continues"},
  };
}

std::vector<Field> fields(PublishedConfig& c) {
  return {
      {"name", &c.name, any, "the row of the table that the experiment repeats"},
      {"test", &c.test, at_least(0), "published result on test, BPC or perplexity; 0: none"},
      {"dev", &c.dev, at_least(0), "published result on dev; 0: none"},
      {"cost", &c.cost, any, "published cost of training, in words"},
      {"parameters", &c.parameters, at_least(0), "published number of parameters; 0: none"},
      {"vocabulary", &c.vocabulary, at_least(0), "ids of the corpus it is about; 0: Enwik8's 205"},
  };
}

}  // namespace

bool Limits::allow(double value) const {
  return std::isfinite(value) && (low_open ? value > low : value >= low) &&
         (high_open ? value < high : value <= high);
}

std::string Limits::str() const {
  std::string text;
  if (std::isfinite(low)) {
    text += fmt::format("{} {}", low_open ? " above" : " from", low);
  }
  if (std::isfinite(high)) {
    text += fmt::format("{} {}", high_open ? " to below" : " to", high);
  }
  return text;
}

std::string Field::expected() const {
  return std::visit(
      [this](const auto& value) -> std::string {
        using T = std::remove_cvref_t<decltype(value)>;
        if constexpr (std::is_same_v<T, bool*>) {
          return "true or false";
        } else if constexpr (std::is_same_v<T, std::int64_t*>) {
          return "a whole number" + limits.str();
        } else if constexpr (std::is_same_v<T, std::uint64_t*>) {
          return "a whole number from 0";
        } else if constexpr (std::is_same_v<T, double*>) {
          return "a number" + limits.str();
        } else if constexpr (std::is_same_v<T, std::string*>) {
          return "text";
        } else if constexpr (std::is_same_v<T, Choice>) {
          return fmt::format("one of {}", fmt::join(value.names, ", "));
        } else if constexpr (std::is_same_v<T, std::optional<std::int64_t>*>) {
          return "a whole number" + limits.str() + ", or null";
        } else {
          return "a list of whole numbers" + limits.str() + ", or null";
        }
      },
      member);
}

std::string Field::str() const {
  const auto json = std::visit(
      [](const auto& value) -> nlohmann::json {
        using T = std::remove_cvref_t<decltype(value)>;
        if constexpr (std::is_same_v<T, Choice>) {
          return value.names.at(value.get());
        } else if constexpr (std::is_same_v<T, std::optional<std::int64_t>*> ||
                             std::is_same_v<T, std::optional<std::vector<std::int64_t>>*>) {
          return *value ? nlohmann::json(**value) : nlohmann::json();
        } else {
          return *value;
        }
      },
      member);
  try {
    return json.dump();
  } catch (const nlohmann::json::exception&) {
    fail("the text of setting {} is not UTF-8 and cannot be written", key);
  }
}

bool Field::in_limits() const {
  const auto allowed = [this](auto number) { return limits.allow(static_cast<double>(number)); };
  return std::visit(
      [&](const auto& value) {
        using T = std::remove_cvref_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::int64_t*> || std::is_same_v<T, double*>) {
          return allowed(*value);
        } else if constexpr (std::is_same_v<T, std::optional<std::int64_t>*>) {
          return !*value || allowed(**value);
        } else if constexpr (std::is_same_v<T, std::optional<std::vector<std::int64_t>>*>) {
          return !*value || std::ranges::all_of(**value, allowed);
        } else {
          return true;
        }
      },
      member);
}

bool Field::known_to(ModelType type) const {
  return only_for.empty() || std::ranges::find(only_for, type) != only_for.end();
}

std::string Field::known_to_names() const {
  std::string names;
  for (std::size_t i = 0; i < only_for.size(); ++i) {
    const std::string_view between = i == 0 ? "" : i + 1 < only_for.size() ? ", " : " or ";
    names += fmt::format("{}{}", between, type_name(only_for[i]));
  }
  return names;
}

Section list_settings(ModelConfig& config) { return {"model", fields(config)}; }

std::string_view type_name(ModelType type) { return kTypeNames[static_cast<std::size_t>(type)]; }

std::vector<Section> list_settings(Config& config) {
  return {
      {"run", fields(config.run)},
      {"data", fields(config.data)},
      list_settings(config.model),
      {"training", fields(config.training)},
      {"optimizer", fields(config.optimizer)},
      {"schedule", fields(config.schedule)},
      {"evaluation", fields(config.evaluation)},
      {"checkpoint", fields(config.checkpoint)},
      {"logging", fields(config.logging)},
      {"sample", fields(config.sample)},
      {"published", fields(config.published)},
  };
}

}  // namespace rondo
