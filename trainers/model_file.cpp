#include "trainers/model_file.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "core/base64.h"
#include "trainers/config_yaml.h"

namespace rondo {
namespace {

constexpr const char* kFormat = "rondo-language-model";
constexpr const char* kVersion = "1";

// Byte values as a JSON list; words one a line, so that a large vocabulary is read quickly; a
// SentencePiece model in base64.
std::string vocabulary_text(const Vocabulary& vocabulary) {
  switch (vocabulary.unit()) {
    case Unit::bytes:
      return nlohmann::json(vocabulary.bytes().bytes()).dump();
    case Unit::words:
      return vocabulary.words().lines();
    case Unit::pieces:
      return to_base64(vocabulary.pieces().model());
  }
  fail("[vocabulary_text] an unknown unit");
}

// What vocabulary_text wrote. Files from before there were words do not tell the unit.
Vocabulary parse_vocabulary(const std::string& unit, const std::string& text) {
  if (unit == name(Unit::words)) {
    return WordVocabulary::from_lines(text);
  }
  if (unit == name(Unit::pieces)) {
    return PieceVocabulary::from_model(from_base64(text));
  }
  check(unit == name(Unit::bytes), "the vocabulary is one of '{}', which this Rondo does not know",
        unit);
  std::vector<std::uint8_t> bytes;
  for (const nlohmann::json& value : nlohmann::json::parse(text)) {
    check(value.is_number_unsigned() && value.get<std::uint64_t>() <= 255,
          "the vocabulary must be a list of byte values, 0 to 255");
    bytes.push_back(value.get<std::uint8_t>());
  }
  return ByteVocabulary(std::move(bytes));
}

std::int64_t parse_window(const std::string& text) {
  std::int64_t window = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, status] = std::from_chars(text.data(), end, window);
  check(status == std::errc() && stop == end && window >= 1,
        "the window must be a whole number from 1");
  return window;
}

}  // namespace

std::map<std::string, std::string> to_metadata(const ModelDescription& description) {
  return {{"format", kFormat},
          {"version", kVersion},
          {"model", model_config_to_json(description.config)},
          {"unit", std::string(name(description.vocabulary.unit()))},
          {"vocabulary", vocabulary_text(description.vocabulary)},
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
  ModelConfig config = model_config_from_json(text("model"), file.string() + " (metadata)");
  const std::string unit =
      metadata.contains("unit") ? text("unit") : std::string(name(Unit::bytes));
  const std::string& vocabulary = text("vocabulary");
  const std::string& window = text("window");
  const std::string& corpus = text("corpus");
  check(unit != name(Unit::pieces) || has_sentencepiece(), "{}: it predicts pieces of words: {}",
        file.string(), kNoSentencePiece);
  try {
    return {std::move(config), parse_vocabulary(unit, vocabulary), parse_window(window), corpus};
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

LoadedModel load_model(const LoadedCheckpoint& checkpoint, Device device) {
  const SafetensorsFile& file = checkpoint.model;
  ModelDescription description = from_metadata(file.metadata(), file.path());
  const auto build = [&](Device where) {
    Generator generator(0);  // the weights it draws are replaced
    Initializer init(generator, where);
    return build_language_model(description.config, description.vocabulary.size(), init);
  };
  // Metadata that a file made elsewhere got wrong must not decide how much memory is taken.
  check(description.config.num_layers <= static_cast<std::int64_t>(file.names().size()),
        "{}: the metadata speaks of {} layers, but there are {} tensors: it is of another model",
        file.path().string(), description.config.num_layers, file.names().size());
  require_tensors(tensors_of(build(Device::meta())->parameters()), file, "model");
  auto model = build(device);
  assign_tensors(tensors_of(model->parameters()), file, "model");
  return {std::move(description), std::move(model), checkpoint.path};
}

}  // namespace rondo
