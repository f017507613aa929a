#include "trainers/yaml_document.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace rondo {

YAML::Node parse_document(std::string_view text, const YamlSource& source) {
  // yaml-cpp takes the end of a file for a closing quote, but not a mark of the document's end.
  constexpr std::string_view end_of_document = "\n...\n";
  const auto lines = std::ranges::count(text, '\n') + (text.ends_with('\n') ? 0 : 1);
  try {
    const auto documents = YAML::LoadAll(fmt::format("{}{}", text, end_of_document));
    if (documents.empty()) {
      return YAML::Node();
    }
    check(documents.size() == 1, "{}: expected one YAML document, found a second one",
          source.at(documents.back().Mark()));
    return documents.front();
  } catch (const YAML::Exception& error) {
    YAML::Mark last = error.mark;
    last.line = static_cast<int>(lines) - 1;
    check(error.mark.line < lines, "{}: expected YAML, but it ends inside open quotes or brackets",
          source.at(last));
    fail("{}: expected YAML, but it cannot be read: {}", source.at(error.mark), error.msg);
  }
}

std::string found(const YAML::Node& node) {
  if (node.IsMap()) {
    return "a map";
  }
  if (node.IsSequence()) {
    return "a list";
  }
  if (!node.IsScalar()) {
    return "nothing";
  }
  constexpr std::size_t longest = 60;
  std::string text = node.Scalar().substr(0, longest);
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < ' '; }, ' ');
  if (node.Scalar().size() > longest) {
    text += "...";
  }
  return node.Tag() == "?" ? fmt::format("'{}'", text) : fmt::format("the text \"{}\"", text);
}

std::string yaml_text(const YAML::Node& node) {
  if (node.IsSequence()) {
    std::string list;
    for (const YAML::Node& element : node) {
      list += fmt::format("{}{}", list.empty() ? "" : ", ", yaml_text(element));
    }
    return fmt::format("[{}]", list);
  }
  if (!node.IsScalar()) {
    return "null";
  }
  using Json = nlohmann::json;
  return node.Tag() == "?"
             ? node.Scalar()
             : Json(node.Scalar()).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace rondo
