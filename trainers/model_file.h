// A language model as a safetensors file that stands on its own: weights, settings and vocabulary.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "data/vocabulary.h"
#include "models/language_model.h"
#include "trainers/checkpoint.h"

namespace rondo {

// What beside the weights is needed to use a model again.
struct ModelDescription {
  ModelConfig config;
  Vocabulary vocabulary;
  std::int64_t window = 0;  // attention window for evaluation and generation
  std::string corpus;       // what it was trained on, as in data.corpus
};

std::map<std::string, std::string> to_metadata(const ModelDescription& description);
// Throws Error naming `file` when the metadata is not that of a Rondo language model.
ModelDescription from_metadata(const std::map<std::string, std::string>& metadata,
                               const std::filesystem::path& file);

struct LoadedModel {
  ModelDescription description;
  std::unique_ptr<LanguageModel> model;
  std::filesystem::path path;
};

// Builds the model of a checkpoint on `device` and fills in its weights. Throws Error when the
// metadata is not that of a Rondo language model, or is of another model than the weights.
LoadedModel load_model(const LoadedCheckpoint& checkpoint, Device device = Device::cpu());

// The parameters as tensors that share their storage.
std::vector<NamedTensor> tensors_of(const Parameters& parameters);

}  // namespace rondo
