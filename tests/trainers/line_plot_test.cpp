#include "trainers/line_plot.h"

#include <cmath>
#include <limits>

#include "tests/support/svg.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

bool shows(const std::string& svg, const std::string& text) {
  const std::vector<std::string> texts = require_well_formed(svg);
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}

// The heights of the texts after which `label` begin, in the order of the document.
std::vector<double> heights_of(const std::string& svg, const std::string& label) {
  std::vector<double> heights;
  for (std::size_t at = svg.find(">" + label); at != std::string::npos;
       at = svg.find(">" + label, at + 1)) {
    const std::size_t y = svg.rfind(" y=\"", at) + 4;
    heights.push_back(std::stod(svg.substr(y)));
  }
  return heights;
}

}  // namespace

TEST_CASE("every line is named where it ends, and no name covers another",
          "[trainers][line_plot][cpu]") {
  LinePlot plot{"A < B", "tokens", "BPC", false, {}};
  for (int i = 0; i < 30; ++i) {
    plot.lines.push_back({fmt::format("run {:02}", i), {{1e6, 4.0}, {2e6, 2.0 + 0.001 * i}}});
  }
  const std::string svg = draw_line_plot(plot);
  REQUIRE(shows(svg, "A &lt; B"));
  REQUIRE(shows(svg, "2.000"));
  REQUIRE(shows(svg, "2.029"));
  REQUIRE(svg == draw_line_plot(plot));
  const std::vector<double> heights = heights_of(svg, "run ");
  REQUIRE(heights.size() == 30);
  // In the order of where the lines end: the lowest value lowest.
  for (std::size_t i = 1; i < heights.size(); ++i) {
    REQUIRE(heights[i - 1] - heights[i] >= 14.0);
  }
  // Neighbours have different colours, and those of one colour different dashes.
  REQUIRE(count(svg, "stroke-dasharray") > 30);
}

TEST_CASE("axes have round ticks", "[trainers][line_plot][cpu]") {
  LinePlot plot{"", "", "", false, {{"a", {{0.5e6, 3.0}, {2.3e6, 2.0}}}}};
  std::string svg = draw_line_plot(plot);
  for (const char* tick : {"0", "0.5M", "1M", "2M"}) {
    CAPTURE(tick);
    REQUIRE(shows(svg, tick));
  }
  REQUIRE(shows(svg, "2.0"));
  plot.log_x = true;
  plot.lines[0].points = {{0.0, 9.0}, {1e3, 3.0}, {2.3e6, 2.0}};
  svg = draw_line_plot(plot);
  for (const char* tick : {"1k", "10k", "100k", "1M"}) {
    CAPTURE(tick);
    REQUIRE(shows(svg, tick));
  }
  REQUIRE_FALSE(shows(svg, "0"));
}

TEST_CASE("a steep start and a run that goes astray leave the rest readable",
          "[trainers][line_plot][cpu]") {
  LinePlot plot{"", "", "", false, {{"a", {{0.0, 12000.0}}}}};
  for (int i = 1; i <= 20; ++i) {
    plot.lines[0].points.push_back({static_cast<double>(i), 30.0 + 10.0 / i});
  }
  std::string svg = draw_line_plot(plot);
  REQUIRE(shows(svg, "31"));
  REQUIRE_FALSE(shows(svg, "10000"));
  plot.lines.push_back({"astray", {{1.0, 40.0}, {2.0, 1e9}, {3.0, std::nan("")}}});
  svg = draw_line_plot(plot);
  REQUIRE(shows(svg, "astray"));
}

TEST_CASE("nothing to draw is said", "[trainers][line_plot][cpu]") {
  const double infinity = std::numeric_limits<double>::infinity();
  const LinePlot plots[] = {{"", "", "", false, {}},
                            {"", "", "", true, {{"a", {}}, {"b", {{1.0, infinity}}}}},
                            {"", "", "", true, {{"a", {{0.0, 1.0}}}}}};
  for (const LinePlot& plot : plots) {
    REQUIRE(shows(draw_line_plot(plot), "nothing measured yet"));
  }
  // Single points, all at the same place, and at zero.
  for (const double x : {0.0, 5.0}) {
    REQUIRE(
        shows(draw_line_plot({"", "", "", false, {{"a", {{x, 2.0}}}, {"b", {{x, 2.0}}}}}), "b"));
  }
}
