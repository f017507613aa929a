#include "trainers/config_yaml.h"

#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <system_error>
#include <type_traits>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "trainers/config_fields.h"
#include "trainers/config_suggestion.h"
#include "trainers/config_validation.h"
#include "trainers/yaml_document.h"

namespace rondo {
namespace {

// Numbers are written plainly: a quoted "100" is text, 1e3 and 1_000 are no whole numbers, and 010
// is eight to some readers of YAML and ten to others.
template <typename Number>
bool read_number(const YAML::Node& node, Number& number) {
  if (!node.IsScalar() || node.Tag() != "?") {
    return false;
  }
  const std::string& text = node.Scalar();
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (status != std::errc{} || end != text.data() + text.size()) {
    return false;
  }
  if constexpr (std::is_floating_point_v<Number>) {
    return std::isfinite(number);
  } else {
    const std::size_t first_digit = text.starts_with('-') ? 1 : 0;
    return text[first_digit] != '0' || text.size() == first_digit + 1;
  }
}

// One overload for each kind of member; false where the YAML is no value of that kind.
bool read(const YAML::Node& node, bool* value) {
  if (!node.IsScalar() || node.Tag() != "?") {
    return false;
  }
  *value = node.Scalar() == "true";
  return *value || node.Scalar() == "false";
}

bool read(const YAML::Node& node, std::int64_t* value) { return read_number(node, *value); }

bool read(const YAML::Node& node, std::uint64_t* value) { return read_number(node, *value); }

bool read(const YAML::Node& node, double* value) { return read_number(node, *value); }

bool read(const YAML::Node& node, std::string* value) {
  *value = node.IsScalar() ? node.Scalar() : "";
  return node.IsScalar();
}

bool read(const YAML::Node& node, const Choice& value) {
  if (!node.IsScalar()) {
    return false;
  }
  const auto name = std::ranges::find(value.names, node.Scalar());
  if (name == value.names.end()) {
    return false;
  }
  value.set(static_cast<std::size_t>(name - value.names.begin()));
  return true;
}

bool read(const YAML::Node& node, std::optional<std::int64_t>* value) {
  value->reset();
  return node.IsNull() || read_number(node, value->emplace());
}

bool read(const YAML::Node& node, std::optional<std::vector<std::int64_t>>* value) {
  value->reset();
  if (node.IsNull()) {
    return true;
  }
  if (!node.IsSequence()) {
    return false;
  }
  value->emplace();
  return std::ranges::all_of(node, [value](const YAML::Node& element) {
    return read_number(element, (*value)->emplace_back());
  });
}

// The same for every way of writing the same path.
std::filesystem::path resolved(const std::filesystem::path& path) {
  std::error_code failure;
  std::filesystem::path result = std::filesystem::weakly_canonical(path, failure);
  return failure ? path : result;
}

// Reads sources one after the other into the same settings, and remembers where each was given.
class Reader {
 public:
  explicit Reader(std::vector<Section> sections) : sections_(std::move(sections)) {}

  const Origins& origins() const { return origins_; }

  // A whole file, its base first. `chain` is the files that led here.
  void read_file_text(std::string_view yaml, const std::string& name,
                      std::vector<std::filesystem::path> chain = {}) {
    const YamlSource source{name};
    const YAML::Node root = parse_document(yaml, source);
    check(!root.IsNull(), "{}: the file is empty; expected settings such as training.steps", name);
    check(root.IsMap(), "{}: expected sections such as model and training, found {}",
          source.at(root.Mark()), found(root));
    for_each_key(root, "", source,
                 [&](const std::string& key, const YAML::Node& value, const std::string& where) {
                   if (key == "base") {
                     read_base(value, where, name, chain);
                   }
                 });
    for_each_key(root, "", source,
                 [&](const std::string& key, const YAML::Node& value, const std::string& where) {
                   if (key != "base") {
                     read_section(key, value, where, source);
                   }
                 });
    origins_[""] = name;
  }

  // The settings of section `key`, given as a map.
  void read_section(const std::string& key, const YAML::Node& map, const std::string& where,
                    const YamlSource& source) {
    const auto section = std::ranges::find(sections_, key, &Section::name);
    if (section == sections_.end()) {
      fail_unknown(key, where);
    }
    check(map.IsMap(), "{}: {}: expected a map of settings, found {}", where, key, found(map));
    for_each_key(map, key + ".", source,
                 [&](const std::string& name, const YAML::Node& value, const std::string& line) {
                   read_setting(key + "." + name, value, line);
                 });
  }

  void read_override(const SettingOverride& setting) {
    const YamlSource source{setting.where, false};
    read_setting(setting.key, parse_document(setting.value, source), setting.where);
  }

 private:
  void read_base(const YAML::Node& value, const std::string& where, const std::string& name,
                 std::vector<std::filesystem::path> chain) {
    check(value.IsScalar() && !value.Scalar().empty(),
          "{}: base: expected the name of another configuration file, found {}", where,
          found(value));
    const std::filesystem::path base = std::filesystem::path(name).parent_path() / value.Scalar();
    chain.push_back(resolved(name));
    check(std::ranges::find(chain, resolved(base)) == chain.end(),
          "{}: base: {} is built on this file, so it cannot be its base", where, base.string());
    std::string text;
    try {
      text = read_file(base);
    } catch (const Error& error) {
      fail("{}: base: {}", where, error.what());
    }
    read_file_text(text, base.string(), std::move(chain));
  }

  void read_setting(const std::string& path, const YAML::Node& node, const std::string& where) {
    const Field& field = find(path, where);
    const bool is_read =
        std::visit([&node](const auto& member) { return read(node, member); }, field.member);
    check(is_read && field.in_limits(), "{}: {}: expected {}, found {}", where, path,
          field.expected(), found(node));
    origins_[path] = where;
  }

  const Field& find(const std::string& path, const std::string& where) const {
    for (const Section& section : sections_) {
      for (const Field& field : section.fields) {
        if (path == fmt::format("{}.{}", section.name, field.key)) {
          return field;
        }
      }
    }
    fail_unknown(path, where);
  }

  [[noreturn]] void fail_unknown(const std::string& path, const std::string& where) const {
    fail("{}: {} is not a setting; {}", where, path, suggest_setting(path, sections_));
  }

  std::vector<Section> sections_;
  Origins origins_;
};

// Names and paths read more easily without quotes; everything else is as valid YAML as JSON.
std::string yaml_value(const Field& field) {
  const std::string json = field.str();
  const std::string_view inside = std::string_view(json).substr(1, json.size() - 2);
  const bool is_plain =
      json.starts_with('"') && inside != "null" && !inside.empty() &&
      std::ranges::all_of(inside, [](unsigned char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '/';
      });
  return is_plain ? std::string(inside) : json;
}

std::vector<SettingOverride> parse_overrides(std::span<const std::string> texts) {
  std::vector<SettingOverride> overrides;
  for (const std::string& text : texts) {
    overrides.push_back(parse_override(text));
  }
  return overrides;
}

Config read_config(std::string_view yaml, std::string_view source_name,
                   std::span<const SettingOverride> overrides) {
  Config config;
  Reader reader(list_settings(config));
  reader.read_file_text(yaml, std::string(source_name));
  for (const SettingOverride& setting : overrides) {
    reader.read_override(setting);
  }
  validate(config, reader.origins());
  return config;
}

}  // namespace

SettingOverride parse_override(std::string_view text) {
  const std::string where = fmt::format("--set {}", text);
  const std::size_t equals = text.find('=');
  check(equals != std::string_view::npos,
        "{}: expected section.key=value, as in --set optimizer.lr=1e-3", where);
  return {std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)), where};
}

Config parse_config(std::string_view yaml, std::string_view source_name,
                    std::span<const std::string> overrides) {
  return read_config(yaml, source_name, parse_overrides(overrides));
}

Config load_config(const std::filesystem::path& file, std::span<const std::string> overrides) {
  return load_config(file, parse_overrides(overrides));
}

Config load_config(const std::filesystem::path& file, std::span<const SettingOverride> overrides) {
  Config config = read_config(read_file(file), file.string(), overrides);
  if (config.run.folder.empty()) {
    config.run.folder = (std::filesystem::path("runs") / file.stem()).string();
  }
  return config;
}

std::string dump_config(const Config& config) {
  Config copy = config;
  std::string text;
  for (const Section& section : list_settings(copy)) {
    text += fmt::format("{}:\n", section.name);
    for (const Field& field : section.fields) {
      text += fmt::format("  {}: {}\n", field.key, yaml_value(field));
    }
  }
  return text;
}

std::string describe_settings() {
  Config defaults;
  std::string text;
  for (const Section& section : list_settings(defaults)) {
    text += fmt::format("{}:\n", section.name);
    for (const Field& field : section.fields) {
      text += fmt::format(
          "  {:<26} {:<12} {}\n{:41} {}{}\n", field.key, yaml_value(field), field.meaning, "",
          field.expected(),
          field.only_for.empty() ? "" : fmt::format("; only for {}", field.known_to_names()));
    }
  }
  return text;
}

std::string model_config_to_json(const ModelConfig& config) {
  ModelConfig copy = config;
  std::vector<std::string> entries;
  for (const Field& field : list_settings(copy).fields) {
    entries.push_back(fmt::format("\"{}\": {}", field.key, field.str()));
  }
  return fmt::format("{{{}}}", fmt::join(entries, ", "));
}

ModelConfig model_config_from_json(std::string_view json, std::string_view source_name) {
  ModelConfig config;
  Reader reader({list_settings(config)});
  const YamlSource source{std::string(source_name)};
  reader.read_section("model", parse_document(json, source), source.name, source);
  validate(config, reader.origins());
  return config;
}

}  // namespace rondo
