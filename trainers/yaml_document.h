// What readers of YAML files share: documents that are read strictly, and messages that say where.
#pragma once

#include <yaml-cpp/yaml.h>

#include <map>
#include <string>
#include <string_view>

#include "core/error.h"

namespace rondo {

// What a piece of YAML is called in messages: a file and a line of it, or one whole override.
struct YamlSource {
  std::string name;
  bool has_lines = true;

  std::string at(const YAML::Mark& mark) const {
    return has_lines && !mark.is_null() ? fmt::format("{}:{}", name, mark.line + 1) : name;
  }
};

// The one document in `text`; nothing at all is a null node. Throws Error where it is no YAML.
YAML::Node parse_document(std::string_view text, const YamlSource& source);

// What a message says that stands there: "a map", "'few'", "the text \"100\"".
std::string found(const YAML::Node& node);

// A scalar or a list of such as YAML on one line, which reads as the same value: quoted text stays
// text.
std::string yaml_text(const YAML::Node& node);

// Calls `body(key, value, where)` for every entry of `map`, whose keys must be names, each once.
// `prefix` stands before them in messages.
template <typename Body>
void for_each_key(const YAML::Node& map, const std::string& prefix, const YamlSource& source,
                  Body&& body) {
  std::map<std::string, std::string> seen;
  for (const auto& entry : map) {
    const std::string where = source.at(entry.first.Mark());
    check(entry.first.IsScalar(), "{}: expected the name of a setting, found {}", where,
          found(entry.first));
    const std::string& key = entry.first.Scalar();
    const auto [first, is_new] = seen.emplace(key, where);
    check(is_new, "{}: {}{} is given twice, first at {}; remove one", where, prefix, key,
          first->second);
    body(key, entry.second, where);
  }
}

}  // namespace rondo
