#include "trainers/yaml_document.h"

#include <yaml-cpp/eventhandler.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "data/utf8.h"

namespace rondo {
namespace {

// Reads a document without keeping anything but where it begins.
class DocumentStart final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override { mark_ = mark; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& /*mark*/, YAML::anchor_t /*anchor*/) override {}
  void OnAlias(const YAML::Mark& /*mark*/, YAML::anchor_t /*anchor*/) override {}
  void OnScalar(const YAML::Mark& /*mark*/, const std::string& /*tag*/, YAML::anchor_t /*anchor*/,
                const std::string& /*value*/) override {}
  void OnSequenceStart(const YAML::Mark& /*mark*/, const std::string& /*tag*/,
                       YAML::anchor_t /*anchor*/, YAML::EmitterStyle::value /*style*/) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& /*mark*/, const std::string& /*tag*/, YAML::anchor_t /*anchor*/,
                  YAML::EmitterStyle::value /*style*/) override {}
  void OnMapEnd() override {}

  const YAML::Mark& mark() const { return mark_; }

 private:
  YAML::Mark mark_;
};

// Throws Error when a second document begins. YAML::LoadAll would do as well, but for text that
// begins with what no value can begin with, such as a comma: it finds an empty document there, and
// another, until all memory is taken.
void require_one_document(const std::string& text, const YamlSource& source) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  DocumentStart first;
  DocumentStart second;
  if (!parser.HandleNextDocument(first) || !parser.HandleNextDocument(second)) {
    return;
  }
  check(first.mark().pos != second.mark().pos,
        "{}: expected YAML, found something that no value can begin with", source.at(first.mark()));
  fail("{}: expected one YAML document, found a second one", source.at(second.mark()));
}

}  // namespace

YAML::Node parse_document(std::string_view text, const YamlSource& source) {
  if (const std::optional<std::size_t> invalid = find_invalid_utf8(text)) {
    YAML::Mark mark;
    mark.pos = static_cast<int>(*invalid);
    mark.line = static_cast<int>(std::ranges::count(text.substr(0, *invalid), '\n'));
    mark.column = 0;
    fail("{}: expected UTF-8, found the byte 0x{:02x} where no character can have it",
         source.at(mark), static_cast<unsigned char>(text[*invalid]));
  }
  // yaml-cpp takes the end of a file for a closing quote, but not a mark of the document's end.
  constexpr std::string_view end_of_document = "\n...\n";
  const auto lines = std::ranges::count(text, '\n') + (text.ends_with('\n') ? 0 : 1);
  try {
    const std::string whole = fmt::format("{}{}", text, end_of_document);
    require_one_document(whole, source);
    return YAML::Load(whole);
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
