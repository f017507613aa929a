#include "trainers/model_file.h"

#include <nlohmann/json.hpp>

#include "trainers/config_yaml.h"

namespace rondo {
namespace {

constexpr const char* kFormat = "rondo-language-model";
constexpr const char* kVersion = "1";

}  // namespace

std::map<std::string, std::string> to_metadata(const ModelDescription& description) {
  return {{"format", kFormat},
          {"version", kVersion},
          {"model", model_config_to_json(description.config)},
          {"vocabulary", nlohmann::json(description.vocabulary.bytes()).dump()},
          {"window", std::to_string(description.window)},
          {"corpus", description.corpus}};
}

ModelDescription from_metadata(const std::map<std::string, std::string>& metadata,
                               const std::filesystem::path& file) {
  const auto text = [&](const char* key) -> const std::string& {
    const auto found = metadata.find(key);
    check(found != metadata.end(),
          "{}: the metadata has no '{}', so this is not a language model saved by Rondo",
          file.string(), key);
    return found->second;
  };
  check(text("format") == kFormat, "{}: the format is '{}'; expected '{}'", file.string(),
        text("format"), kFormat);
  check(text("version") == kVersion,
        "{}: version {} of the format; this Rondo reads version {}: use a newer one", file.string(),
        text("version"), kVersion);
  const std::string source = file.string() + " (metadata)";
  try {
    return {
        model_config_from_json(text("model"), source),
        ByteVocabulary(nlohmann::json::parse(text("vocabulary")).get<std::vector<std::uint8_t>>()),
        std::stoll(text("window")), text("corpus")};
  } catch (const Error&) {
    throw;
  } catch (const std::exception& problem) {
    fail("{}: the metadata is damaged ({}); use another checkpoint", file.string(), problem.what());
  }
}

std::vector<NamedTensor> tensors_of(const Parameters& parameters) {
  std::vector<NamedTensor> tensors;
  for (const NamedVariable& parameter : parameters) {
    tensors.push_back({parameter.name, parameter.variable.value()});
  }
  return tensors;
}

LoadedModel load_model(const LoadedCheckpoint& checkpoint) {
  ModelDescription description =
      from_metadata(checkpoint.model.metadata(), checkpoint.model.path());
  Generator generator(0);  // the weights it draws are replaced
  Initializer init(generator);
  auto model = build_language_model(description.config, description.vocabulary.size(), init);
  assign_tensors(tensors_of(model->parameters()), checkpoint.model, "model");
  return {std::move(description), std::move(model), checkpoint.path};
}

}  // namespace rondo
