// Whether a text is an SVG document, and what it shows.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/testing.h"

namespace rondo::testing {

inline std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

// Every tag closed in its turn, and no number in it that is none. Returns the texts shown. (Not by
// std::regex, which recurses once a character and overflows the stack on long attributes.)
inline std::vector<std::string> require_well_formed(const std::string& svg) {
  std::vector<std::string> open;
  std::vector<std::string> shown;
  for (std::size_t at = 0; at < svg.size();) {
    if (svg[at] != '<') {
      const std::size_t end = std::min(svg.find('<', at), svg.size());
      const std::string text = svg.substr(at, end - at);
      REQUIRE(text.find('>') == std::string::npos);
      if (text != "\n") {
        shown.push_back(text);
      }
      at = end;
      continue;
    }
    const std::size_t end = svg.find('>', at);
    REQUIRE(end != std::string::npos);
    const std::string tag = svg.substr(at + 1, end - at - 1);
    at = end + 1;
    REQUIRE(tag.find('<') == std::string::npos);
    REQUIRE(count(tag, "\"") == 2 * count(tag, "=\""));
    REQUIRE(tag.find("nan") == std::string::npos);
    REQUIRE(tag.find("inf") == std::string::npos);
    if (tag.front() == '/') {
      REQUIRE_FALSE(open.empty());
      REQUIRE(open.back() == tag.substr(1));
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
  }
  REQUIRE(open.empty());
  return shown;
}

}  // namespace rondo::testing
