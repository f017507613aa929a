// The one listing of every setting: its key, the member that holds it, the values it may take and
// what it means. Reading, range checks, dumping and help all walk it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "trainers/config.h"

namespace rondo {

// The numbers a setting may take. An open end is itself not allowed.
struct Limits {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;
  bool high_open = false;

  // False for NaN and infinities, too.
  bool allow(double value) const;
  // "", " from 1", " above 0", " from 0 to below 1"
  std::string str() const;
};

// A setting that takes one of a few names.
struct Choice {
  std::vector<std::string_view> names;  // in the order of the enumerators
  std::function<std::size_t()> get;
  std::function<void(std::size_t)> set;
};

struct Field {
  // The member that the setting is read into.
  using Member =
      std::variant<bool*, std::int64_t*, std::uint64_t*, double*, std::string*, Choice,
                   std::optional<std::int64_t>*, std::optional<std::vector<std::int64_t>>*>;

  std::string_view key;
  Member member;
  Limits limits;  // of a number, or of every number of a list
  std::string_view meaning;
  // The types of model that know the setting, where not all do; with the others it must keep its
  // default.
  std::vector<ModelType> only_for = {};

  // What a value must be: "a whole number from 1".
  std::string expected() const;
  // The member's value as JSON; throws Error for text that is not UTF-8.
  std::string str() const;
  // Whether the member's value keeps within the limits.
  bool in_limits() const;
  // Whether a model of `type` knows the setting.
  bool known_to(ModelType type) const;
  // The names of only_for: "sru, srupp or lstm"; empty where all know it.
  std::string known_to_names() const;
};

struct Section {
  std::string_view name;
  std::vector<Field> fields;
};

// "sru", "srupp", ..., as in a configuration.
std::string_view type_name(ModelType type);

// The settings of `config`, which must outlive them, in the order in which people meet them.
std::vector<Section> list_settings(Config& config);
// The section "model" alone.
Section list_settings(ModelConfig& config);

}  // namespace rondo
