#include "trainers/config_suggestion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace rondo {
namespace {

// Letters to insert, remove or replace to turn `a` into `b` (Levenshtein).
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, replaced});
    }
  }
  return row.back();
}

// The names that share the least distance.
struct Nearest {
  std::size_t distance = std::string_view::npos;
  std::vector<std::string> names;

  void offer(std::size_t other_distance, std::string name) {
    if (other_distance < distance) {
      distance = other_distance;
      names.clear();
    }
    if (other_distance == distance) {
      names.push_back(std::move(name));
    }
  }
};

}  // namespace

std::string suggest_setting(std::string_view path, std::span<const Section> sections) {
  const std::size_t dot = path.find('.');
  const std::string_view section_name =
      dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
  const std::string_view key = dot == std::string_view::npos ? path : path.substr(dot + 1);

  const auto list = [](const Section& section) {
    std::vector<std::string_view> keys;
    for (const Field& field : section.fields) {
      keys.push_back(field.key);
    }
    return fmt::format("{} has {}", section.name, fmt::join(keys, ", "));
  };
  if (const auto exact = std::ranges::find(sections, path, &Section::name);
      exact != sections.end()) {
    return list(*exact);
  }

  // A key in its own section counts as nearer than the same spelling elsewhere.
  Nearest nearest;
  const auto near = [](std::string_view given, std::string_view known) {
    return edit_distance(given, known) <= std::max<std::size_t>(1, known.size() / 3);
  };
  for (const Section& section : sections) {
    if (section_name.empty() && near(key, section.name)) {
      nearest.offer(2 * edit_distance(key, section.name), std::string(section.name));
    }
    for (const Field& field : section.fields) {
      if (near(key, field.key)) {
        const std::size_t elsewhere = section_name == section.name ? 0 : 1;
        nearest.offer(2 * edit_distance(key, field.key) + elsewhere,
                      fmt::format("{}.{}", section.name, field.key));
      }
    }
  }
  if (!nearest.names.empty()) {
    return fmt::format("did you mean {}?", fmt::join(nearest.names, " or "));
  }
  if (const auto own = std::ranges::find(sections, section_name, &Section::name);
      own != sections.end()) {
    return list(*own);
  }
  std::vector<std::string_view> names;
  for (const Section& section : sections) {
    names.push_back(section.name);
  }
  return fmt::format("the sections are {}", fmt::join(names, ", "));
}

}  // namespace rondo
