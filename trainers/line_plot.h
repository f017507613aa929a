// A picture of several curves, to compare runs.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace rondo {

struct PlotPoint {
  double x = 0.0;
  double y = 0.0;
};

struct PlotLine {
  std::string label;
  // In the order of x. Points that are not finite are left out, and with `log_x` those with x <= 0.
  std::vector<PlotPoint> points;
};

struct LinePlot {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool log_x = false;
  std::vector<PlotLine> lines;
};

// An SVG document, 900 pixels wide and higher the more lines there are. Each line is named where it
// ends, with its last value, behind a sample of its colour (of the Okabe-Ito palette, which colour
// blindness leaves apart) and, from the seventh line on, its dashes. Lower is better: when the
// start of the curves would press all the rest into less than half of the picture, it leaves it at
// the top. The same plot gives the same text.
std::string draw_line_plot(const LinePlot& plot);

}  // namespace rondo
