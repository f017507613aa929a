// Configurations as YAML: read strictly, written back in full.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "trainers/config.h"

namespace rondo {

// Reads `file`: a map of sections (run, data, model, ...), each a map of settings named as the
// fields of trainers/config.h. Settings not given keep their defaults. `base: other.yaml`, a path
// relative to the file, names a file that is read first and overridden key by key. `overrides` come
// last, in order, as "section.key=value" with the value in YAML. An empty run.folder becomes
// runs/<name of the file without its ending>.
//
// Throws Error at the first thing that is wrong (an unknown or repeated key, a value of the wrong
// type or range, settings that contradict each other, unreadable YAML) with the file and line, or
// the override as "--set section.key=value", the full key, what was expected and what was found.
Config load_config(const std::filesystem::path& file, std::span<const std::string> overrides = {});

// The same for text; `source_name` stands for the file in messages and when looking for `base`.
// An empty run.folder stays empty.
Config parse_config(std::string_view yaml, std::string_view source_name,
                    std::span<const std::string> overrides = {});

// One setting given outside of the file.
struct SettingOverride {
  std::string key;    // "training.steps"
  std::string value;  // in YAML
  std::string where;  // what messages call it: "--set training.steps=5", "sweep.yaml:7"
};

// "section.key=value" as of the command line's --set.
SettingOverride parse_override(std::string_view text);

// load_config with overrides that come from elsewhere than the command line.
Config load_config(const std::filesystem::path& file, std::span<const SettingOverride> overrides);

// Every setting as YAML, defaults included; parse_config reads an equal Config from it.
std::string dump_config(const Config& config);

// A page of help: every setting with its default, what it may be and what it means.
std::string describe_settings();

// A model's settings as a JSON object on one line, and back, as strict as load_config. Settings
// that the JSON lacks keep their defaults.
std::string model_config_to_json(const ModelConfig& config);
ModelConfig model_config_from_json(std::string_view json, std::string_view source_name);

}  // namespace rondo
