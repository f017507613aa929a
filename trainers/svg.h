// SVG documents, as far as plots need them.
#pragma once

#include <fmt/format.h>

#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace rondo {

constexpr std::string_view kInk = "#24292f";
constexpr std::string_view kFaintInk = "#57606a";
constexpr std::string_view kGrid = "#e6e9ed";

// A document as it grows. The same calls give the same text.
class Svg {
 public:
  // A white picture of `width` by `height` pixels.
  Svg(double width, double height);

  // Adds an element on a line of its own.
  template <typename... Args>
  void add(fmt::format_string<Args...> element, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), element, std::forward<Args>(args)...);
    text_ += '\n';
  }
  void text(double x, double y, std::string_view attributes, std::string_view content);
  // A line through `points`, x and y of each; a single point is a dot. `attributes`, such as
  // stroke-dasharray, begin with a space.
  void line(std::span<const std::pair<double, double>> points, std::string_view colour,
            double width, std::string_view attributes = "");
  void dot(double x, double y, double radius, std::string_view attributes);

  // The finished document.
  std::string take();

 private:
  std::string text_;
};

// 1, 2 or 5 times a power of ten, so that `span` has at most `ticks` of them.
double nice_tick(double span, int ticks);

// The first `letters` letters of `text`, and an ellipsis where it has more.
std::string shortened(std::string_view text, std::size_t letters);

}  // namespace rondo
