#include <filesystem>
#include <map>

#include <nlohmann/json.hpp>

#include "core/allocator.h"
#include "tools/commands.h"
#include "tools/format.h"
#include "trainers/config_yaml.h"
#include "trainers/model_file.h"

namespace rondo {
namespace {

// "rnn.layers.3" of "rnn.layers.3.transform.linear1.weight"; "embedding" of "embedding.weight".
std::string module_of(std::string_view name) {
  constexpr std::string_view marker = "layers.";
  const std::size_t layers = name.find(marker);
  const std::size_t from = layers == std::string_view::npos ? 0 : layers + marker.size();
  return std::string(name.substr(0, name.find('.', from)));
}

void print_parameters(const Parameters& parameters, bool each) {
  std::vector<std::string> order;
  std::map<std::string, std::int64_t> totals;
  for (const NamedVariable& p : parameters) {
    const std::string module = module_of(p.name);
    if (totals.try_emplace(module, 0).second) {
      order.push_back(module);
    }
    totals[module] += p.variable.value().numel();
  }
  const auto total = static_cast<double>(count(parameters));
  fmt::print("\n{:<36}{:>14}{:>9}\n", "module", "parameters", "share");
  for (const std::string& module : order) {
    fmt::print("{:<36}{:>14}{:>8.1f}%\n", module, totals[module],
               100.0 * static_cast<double>(totals[module]) / total);
    for (const NamedVariable& p : parameters) {
      if (each && module_of(p.name) == module) {
        fmt::print("  {:<34}{:>14}  {} {}\n", p.name.substr(module.size() + 1),
                   p.variable.value().numel(), name(p.variable.dtype()), p.variable.shape().str());
      }
    }
  }
  fmt::print("{:<36}{:>14}  ({})\n", "total", count(parameters), format_count(total));
}

void print_training_state(const LoadedCheckpoint& checkpoint) {
  if (!checkpoint.state_json) {
    fmt::print("\nweights only: can be evaluated and sampled, not resumed\n");
    return;
  }
  const nlohmann::json state = nlohmann::json::parse(*checkpoint.state_json);
  fmt::print("\ntraining state\n");
  for (const char* key : {"step", "epoch", "tokens", "best_step", "seed"}) {
    if (state.contains(key) && !state[key].is_null()) {
      fmt::print("  {:<12}{}\n", key, state[key].dump());
    }
  }
  if (state.contains("seconds")) {
    fmt::print("  {:<12}{}\n", "time", format_duration(state["seconds"].get<double>()));
  }
}

// A model that a config describes, built without allocating it.
void info_of_config(const std::string& path, const std::vector<std::string>& overrides,
                    std::optional<std::int64_t> vocabulary, bool each) {
  const Config config = load_config(path, overrides);
  const std::int64_t ids = vocabulary.value_or(published_vocabulary(config));
  Generator generator(config.run.seed);
  Initializer init(generator, Device::meta());
  const auto model = build_language_model(config.model, ids, init);
  fmt::print("{}\nmodel        {}\nvocabulary   {} (--vocabulary to change)\n", path,
             model_config_to_json(config.model), ids);
  print_parameters(model->parameters(), each);
}

void info_of_checkpoint(const std::string& path, bool each) {
  const LoadedCheckpoint checkpoint = load_checkpoint(path);
  const ModelDescription description =
      from_metadata(checkpoint.model.metadata(), checkpoint.model.path());
  Generator generator(0);
  Initializer init(generator, Device::meta());
  const auto model = build_language_model(description.config, description.vocabulary.size(), init);
  std::uintmax_t bytes = std::filesystem::file_size(checkpoint.model.path());
  fmt::print(
      "{}\nmodel        {}\nvocabulary   {} {}\ncorpus       {}\nwindow       {}\n"
      "model file   {} bytes\n",
      checkpoint.path.string(), model_config_to_json(description.config),
      description.vocabulary.size(), name(description.vocabulary.unit()), description.corpus,
      description.window, format_count(static_cast<double>(bytes)));
  print_parameters(model->parameters(), each);
  print_training_state(checkpoint);
}

struct InfoOptions {
  std::string path;
  std::vector<std::string> overrides;
  std::optional<std::int64_t> vocabulary;
  bool each = false;
};

}  // namespace

void add_info_command(CLI::App& app) {
  auto options = std::make_shared<InfoOptions>();
  CLI::App* command =
      app.add_subcommand("info", "Parameters, sizes and training state of a checkpoint or config");
  command->add_option("path", options->path, "A run folder, checkpoint, safetensors file or config")
      ->required();
  command->add_flag("--all", options->each, "Every parameter with its shape");
  add_config_options(*command, options->overrides, options->vocabulary);
  command->footer(R"(Examples:
  rondo info runs/quickstart
  rondo info configs/enwik8_42m.yaml)");
  command->callback([options] {
    if (names_config(options->path)) {
      info_of_config(options->path, options->overrides, options->vocabulary, options->each);
    } else {
      check(options->overrides.empty(), "--set changes a config; {} is none", options->path);
      info_of_checkpoint(options->path, options->each);
    }
  });
}

void add_settings_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("settings", "List every setting of a config with its default and meaning");
  command->footer(R"(Examples:
  rondo settings
  rondo train configs/quickstart.yaml --set optimizer.lr=1e-3)");
  command->callback([] { fmt::print("{}", describe_settings()); });
}

}  // namespace rondo
