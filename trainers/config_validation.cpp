#include "trainers/config_validation.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "core/device.h"
#include "core/error.h"
#include "trainers/config_fields.h"

namespace rondo {
namespace {

// "configs/x.yaml:14: training.steps", as far as it is known.
std::string place(const Origins& origins, std::string_view path) {
  for (const std::string_view key : {path, std::string_view()}) {
    if (const auto found = origins.find(key); found != origins.end()) {
      return fmt::format("{}: {}", found->second, path);
    }
  }
  return std::string(path);
}

template <typename... Args>
void require(bool holds, const Origins& origins, std::string_view path,
             fmt::format_string<Args...> message, Args&&... args) {
  if (!holds) {
    fail("{}: {}", place(origins, path), fmt::format(message, std::forward<Args>(args)...));
  }
}

void check_limits(const Section& section, const Origins& origins) {
  for (const Field& field : section.fields) {
    require(field.in_limits(), origins, fmt::format("{}.{}", section.name, field.key),
            "expected {}, found {}", field.expected(), field.str());
  }
}

// A setting that the model's type does not have would be ignored in silence.
void check_belongs(const Section& given, ModelType type, const Origins& origins) {
  ModelConfig untouched;
  const Section defaults = list_settings(untouched);
  for (std::size_t i = 0; i < given.fields.size(); ++i) {
    const Field& field = given.fields[i];
    require(field.known_to(type) || field.str() == defaults.fields[i].str(), origins,
            fmt::format("model.{}", field.key),
            "only a model of type {} has this setting, and model.type is {}; remove it",
            field.known_to_names(), type_name(type));
  }
}

// Of the types that let one choose which layers attend.
void check_attending_layers(const ModelConfig& config, const Origins& origins) {
  std::vector<std::string_view> given;
  if (config.attention_every_n_layers) {
    given.emplace_back("model.attention_every_n_layers");
  }
  if (config.attention_last_n_layers) {
    given.emplace_back("model.attention_last_n_layers");
  }
  if (config.attention_layers) {
    given.emplace_back("model.attention_layers");
  }
  if (given.size() > 1) {
    fail(
        "{}: expected at most one way to choose the layers that attend, found {} as well; "
        "set one of them to null",
        place(origins, given[1]), place(origins, given[0]));
  }

  require(config.attention_every_n_layers.value_or(1) <= config.num_layers, origins,
          "model.attention_every_n_layers",
          "expected at most model.num_layers ({}), found {}; for no attention, write "
          "attention_layers: [] instead",
          config.num_layers, config.attention_every_n_layers.value_or(1));
  require(config.attention_last_n_layers.value_or(0) <= config.num_layers, origins,
          "model.attention_last_n_layers", "expected at most model.num_layers ({}), found {}",
          config.num_layers, config.attention_last_n_layers.value_or(0));
  if (config.attention_layers) {
    std::int64_t previous = 0;
    for (const std::int64_t layer : *config.attention_layers) {
      require(layer <= config.num_layers, origins, "model.attention_layers",
              "expected layers from 1 to model.num_layers ({}), found {}", config.num_layers,
              layer);
      require(layer > previous, origins, "model.attention_layers",
              "expected each layer once and in increasing order, found {} after {}", layer,
              previous);
      previous = layer;
    }
  }
}

void check_srupp(const ModelConfig& config, const Origins& origins) {
  require(config.projection_size >= 1, origins, "model.projection_size",
          "expected a whole number from 1, for model.type is srupp; found {}",
          config.projection_size);
  require(config.projection_size % config.num_heads == 0, origins, "model.num_heads",
          "expected a divisor of model.projection_size ({}), found {}", config.projection_size,
          config.num_heads);
  check_attending_layers(config, origins);
}

void check_sha_lstm(const ModelConfig& config, const Origins& origins) {
  require(config.inner_size >= 1 && config.inner_size % config.hidden_size == 0, origins,
          "model.inner_size",
          "expected a multiple of model.hidden_size ({}), for model.type is sha_lstm; found {}",
          config.hidden_size, config.inner_size);
  require(config.hidden_size % config.num_heads == 0, origins, "model.num_heads",
          "expected a divisor of model.hidden_size ({}), found {}", config.hidden_size,
          config.num_heads);
  check_attending_layers(config, origins);
}

void check_softmax(const ModelConfig& config, const Origins& origins) {
  if (config.softmax == SoftmaxType::full) {
    const ModelConfig untouched;
    const auto only_adaptive = [&](std::string_view key, bool unset) {
      require(unset, origins, key,
              "only an adaptive softmax has this setting; remove it or set model.softmax: "
              "adaptive");
    };
    only_adaptive("model.cutoffs", !config.cutoffs);
    only_adaptive("model.embedding_size", config.embedding_size == untouched.embedding_size);
    only_adaptive("model.div_val", config.div_val == untouched.div_val);
    only_adaptive("model.tie_projections", config.tie_projections == untouched.tie_projections);
    only_adaptive("model.embedding_dropout",
                  config.embedding_dropout == untouched.embedding_dropout);
    return;
  }
  require(!config.tie_weights, origins, "model.tie_weights",
          "the rows of an adaptive softmax are always those of its embedding; remove it");
  require(config.cutoffs && !config.cutoffs->empty(), origins, "model.cutoffs",
          "expected the first id of every cluster but the first, for model.softmax is adaptive, "
          "like [20000, 40000, 200000]; found none");
  std::int64_t previous = 0;
  for (const std::int64_t cutoff : *config.cutoffs) {
    require(cutoff > previous, origins, "model.cutoffs",
            "expected each id once and in increasing order, found {} after {}", cutoff, previous);
    previous = cutoff;
  }
}

void check_transformer(const ModelConfig& config, const Origins& origins) {
  require(config.inner_size >= 1, origins, "model.inner_size",
          "expected a whole number from 1, for model.type is {}; found {}", type_name(config.type),
          config.inner_size);
  require(config.head_size > 0 || config.hidden_size % config.num_heads == 0, origins,
          "model.num_heads",
          "expected a divisor of model.hidden_size ({}), found {}; or set model.head_size",
          config.hidden_size, config.num_heads);
}

// Position numbers beyond those of training would mean nothing to a plain Transformer.
void check_transformer_window(const Config& config, const Origins& origins) {
  require(config.model.type != ModelType::transformer ||
              config.evaluation.unroll <= config.training.unroll,
          origins, "evaluation.unroll",
          "expected at most training.unroll ({}), for model.type transformer numbers its "
          "positions; found {}",
          config.training.unroll, config.evaluation.unroll);
}

void check_schedule(const Config& config, const Origins& origins) {
  const ScheduleConfig& schedule = config.schedule;
  const std::int64_t steps = config.training.steps;
  const std::int64_t total = schedule.total_steps == 0 ? steps : schedule.total_steps;
  require(schedule.type != ScheduleType::cosine || total >= steps, origins, "schedule.total_steps",
          "expected 0 or at least training.steps ({}), found {}; after its end the cosine would "
          "rise again",
          steps, total);
  require(schedule.warmup_steps <= total, origins, "schedule.warmup_steps",
          "expected at most all {} steps, found {}", total, schedule.warmup_steps);
}

// RAdam moves weights from the step on where rho reaches 5, and rho stays below 2 / (1 - beta2)
// - 1.
void check_optimizer(const Config& config, const Origins& origins) {
  require(config.optimizer.type != OptimizerType::radam || config.optimizer.beta2 > 2.0 / 3.0,
          origins, "optimizer.beta2",
          "expected more than 2/3 for optimizer.type radam, which would never move a weight; found "
          "{}",
          config.optimizer.beta2);
}

void check_device(const Config& config, const Origins& origins) {
  Device device;
  try {
    device = Device::parse(config.run.device);
  } catch (const Error& error) {
    fail("{}: {}", place(origins, "run.device"), error.what());
  }
  require(!device.is_meta(), origins, "run.device",
          "expected cpu, cuda or cuda:N, found meta, which only counts parameters");
  const Precision precision = config.training.precision;
  require(device.is_cuda() || (precision != Precision::tf32 && precision != Precision::f16),
          origins, "training.precision",
          "{} is made by the tensor cores of a GPU, and run.device is cpu; choose f32 or bf16, or "
          "set run.device: cuda",
          name(precision));
  require(precision == Precision::f16 || config.training.loss_scale == TrainingConfig().loss_scale,
          origins, "training.loss_scale",
          "only training.precision: f16 has this setting; remove it or set that");
}

}  // namespace

void validate(const ModelConfig& config, const Origins& origins) {
  ModelConfig copy = config;
  const Section section = list_settings(copy);
  check_limits(section, origins);
  check_belongs(section, config.type, origins);
  if (config.type == ModelType::srupp) {
    check_srupp(config, origins);
  } else if (config.type == ModelType::sha_lstm) {
    check_sha_lstm(config, origins);
  }
  if (config.type == ModelType::transformer || config.type == ModelType::transformer_xl) {
    check_transformer(config, origins);
  }
  check_softmax(config, origins);
}

void require_device(const Config& config) {
  try {
    require_available(Device::parse(config.run.device));
  } catch (const Error& error) {
    fail("run.device: {}", error.what());
  }
}

void validate(const Config& config, const Origins& origins) {
  Config copy = config;
  for (const Section& section : list_settings(copy)) {
    check_limits(section, origins);
  }
  validate(config.model, origins);
  check_device(config, origins);
  check_schedule(config, origins);
  check_optimizer(config, origins);
  check_transformer_window(config, origins);
  require(config.optimizer.momentum == 0 || config.optimizer.type == OptimizerType::sgd, origins,
          "optimizer.momentum", "only sgd has this setting; remove it or set optimizer.type: sgd");
  require(!config.data.corpus.empty(), origins, "data.corpus",
          "expected builtin or a folder made by `rondo prepare`, found empty text");
  require(config.sample.length == 0 || !config.sample.prompt.empty(), origins, "sample.prompt",
          "expected at least one byte to continue, found empty text");
}

}  // namespace rondo
