#include "trainers/line_plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "trainers/svg.h"

namespace rondo {
namespace {

constexpr double kWidth = 900;
constexpr double kLeft = 66;
constexpr double kTop = 52;
constexpr double kBelow = 54;         // the x axis and its name
constexpr double kLabelHeight = 18;   // of the names at the ends of lines
constexpr double kLetterWidth = 6.8;  // at the size of the names, on average and a little more
constexpr std::size_t kMostLetters = 36;

// Okabe and Ito's colours without yellow, which white swallows.
constexpr std::array<std::string_view, 6> kColours = {"#0072b2", "#d55e00", "#009e73",
                                                      "#cc79a7", "#000000", "#56b4e9"};
constexpr std::array<std::string_view, 4> kDashes = {"", "7 4", "2 4", "9 3 2 3"};

struct Axis {
  double low = 0.0;
  double high = 1.0;
  double tick = 0.5;
  bool log = false;

  double place(double value) const {  // from 0 to 1
    return log ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
  }
};

struct Frame {
  Axis x;
  Axis y;
  double right = 0.0;
  double bottom = 0.0;

  double x_of(double value) const { return kLeft + (right - kLeft) * x.place(value); }
  // Values far outside end up just outside; the plot is clipped anyway.
  double y_of(double value) const {
    const double place = std::clamp(y.place(value), -2.0, 2.0);
    return bottom - (bottom - kTop) * place;
  }
};

std::vector<PlotLine> drawable(const LinePlot& plot) {
  std::vector<PlotLine> lines = plot.lines;
  for (PlotLine& line : lines) {
    std::erase_if(line.points, [&](const PlotPoint& p) {
      return !std::isfinite(p.x) || !std::isfinite(p.y) || (plot.log_x && p.x <= 0.0);
    });
  }
  std::erase_if(lines, [](const PlotLine& line) { return line.points.empty(); });
  return lines;
}

Axis x_axis(const std::vector<PlotLine>& lines, bool log) {
  double low = std::numeric_limits<double>::infinity();
  double high = 0.0;
  for (const PlotLine& line : lines) {
    low = std::min(low, line.points.front().x);
    high = std::max(high, line.points.back().x);
  }
  if (lines.empty() || high <= 0.0) {
    return {0.0, 1.0, 0.2, false};
  }
  if (log) {
    return {low, std::max(high, low * 1.1), 0.0, true};
  }
  return {0.0, high, nice_tick(high, 8), false};
}

Axis y_axis(const std::vector<PlotLine>& lines) {
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  double high_later = -low;
  double worst_end = -low;
  for (const PlotLine& line : lines) {
    const double start = line.points.front().x;
    const double end = line.points.back().x;
    for (const PlotPoint& p : line.points) {
      low = std::min(low, p.y);
      high = std::max(high, p.y);
      if (p.x >= start + 0.1 * (end - start)) {
        high_later = std::max(high_later, p.y);
      }
    }
    worst_end = std::max(worst_end, line.points.back().y);
  }
  if (low > high) {
    return {};
  }
  if (high - low > 2 * (high_later - low)) {
    high = high_later;
  }
  // Room for what the lines come to: nothing above three times the distance of their ends, or 1.6
  // times the lowest value, needs to be seen.
  high = std::min(high, std::max(low + 3 * (worst_end - low), 1.6 * low));
  const double span = std::max({high - low, 0.02 * std::abs(low), 1e-3});
  Axis axis{low - 0.06 * span, low + 1.04 * span, 0.0, false};
  axis.tick = nice_tick(axis.high - axis.low, 8);
  return axis;
}

// "0", "500", "20k", "1.5M", "3B", in the unit that suits the whole axis.
std::string count_label(double value, double high) {
  constexpr std::array<std::pair<double, std::string_view>, 3> kUnits = {
      {{1e9, "B"}, {1e6, "M"}, {1e3, "k"}}};
  for (const auto& [size, unit] : kUnits) {
    if (high >= size && value > 0.0) {
      return fmt::format("{:g}{}", value / size, unit);
    }
  }
  return fmt::format("{:g}", value);
}

std::string y_text(double value, double tick) {
  const int decimals = static_cast<int>(-std::floor(std::log10(tick)));
  return fmt::format("{:.{}f}", value, std::max(decimals, 0));
}

// Multiples of the tick; on a logarithmic axis powers of ten, with their double and fivefold where
// there are few.
std::vector<double> ticks(const Axis& axis) {
  std::vector<double> at;
  if (!axis.log) {
    for (double i = std::ceil(axis.low / axis.tick); i * axis.tick <= axis.high * (1 + 1e-9); ++i) {
      at.push_back(i * axis.tick);
    }
    return at;
  }
  const bool few = axis.high / axis.low < 2e3;
  for (double power = std::floor(std::log10(axis.low)); power <= std::log10(axis.high); ++power) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double value = factor * std::pow(10.0, power);
      if ((factor == 1.0 || few) && value >= axis.low && value <= axis.high) {
        at.push_back(value);
      }
    }
  }
  return at;
}

void draw_axes(Svg& svg, const LinePlot& plot, const Frame& frame) {
  const std::string labels = fmt::format(R"(font-size="12" fill="{}")", kFaintInk);
  for (const double value : ticks(frame.y)) {
    const double at = frame.y_of(value);
    svg.add(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}"/>)", kLeft, at,
            frame.right, at, kGrid);
    svg.text(kLeft - 9, at + 4, labels + R"( text-anchor="end")", y_text(value, frame.y.tick));
  }
  for (const double value : ticks(frame.x)) {
    const double at = frame.x_of(value);
    svg.add(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}"/>)", at, kTop, at,
            frame.bottom, kGrid);
    svg.text(at, frame.bottom + 19, labels + R"( text-anchor="middle")",
             count_label(value, frame.x.log ? value : frame.x.high));
  }
  svg.add(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}"/>)", kLeft,
          frame.bottom, frame.right, frame.bottom, kFaintInk);
  const std::string names = labels + R"( text-anchor="middle")";
  svg.text((kLeft + frame.right) / 2, frame.bottom + 41, names, plot.x_label);
  const double middle = (kTop + frame.bottom) / 2;
  svg.text(18, middle, fmt::format(R"svg({} transform="rotate(-90 18 {:.1f})")svg", names, middle),
           plot.y_label);
}

// Where the names stand, so that none covers another and each is as near to its `wanted` place as
// that allows. Neighbours that touch are moved together, like beads on a string.
std::vector<double> spread(std::span<const double> wanted, double low, double high) {
  struct Group {
    double sum = 0.0;  // of the places at which its first member would suit each member
    std::vector<std::size_t> members;
    double first(double least, double most) const {
      const double extent = kLabelHeight * static_cast<double>(members.size() - 1);
      return std::clamp(sum / static_cast<double>(members.size()), least,
                        std::max(most - extent, least));
    }
  };
  std::vector<std::size_t> order(wanted.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return wanted[a] < wanted[b]; });
  std::vector<Group> groups;
  for (const std::size_t i : order) {
    groups.push_back({wanted[i], {i}});
    while (groups.size() > 1) {
      Group& last = groups.back();
      Group& before = groups[groups.size() - 2];
      const double extent = kLabelHeight * static_cast<double>(before.members.size());
      if (before.first(low, high) + extent <= last.first(low, high)) {
        break;
      }
      before.sum += last.sum - extent * static_cast<double>(last.members.size());
      before.members.insert(before.members.end(), last.members.begin(), last.members.end());
      groups.pop_back();
    }
  }
  std::vector<double> places(wanted.size());
  for (const Group& group : groups) {
    double at = group.first(low, high);
    for (const std::size_t i : group.members) {
      places[i] = at;
      at += kLabelHeight;
    }
  }
  return places;
}

std::string_view colour_of(std::size_t line) { return kColours[line % kColours.size()]; }

std::string dashes_of(std::size_t line) {
  const std::string_view dashes = kDashes[line / kColours.size() % kDashes.size()];
  return dashes.empty() ? "" : fmt::format(R"( stroke-dasharray="{}")", dashes);
}

// "1.648  name"
std::string end_text(const PlotLine& line) {
  const double last = line.points.back().y;
  return fmt::format("{:.{}f}  {}", last,
                     last < 10    ? 3
                     : last < 100 ? 2
                                  : 1,
                     shortened(line.label, kMostLetters));
}

void draw_names(Svg& svg, const std::vector<PlotLine>& lines, const Frame& frame) {
  std::vector<double> ends;
  for (const PlotLine& line : lines) {
    ends.push_back(std::clamp(frame.y_of(line.points.back().y), kTop, frame.bottom));
  }
  const std::vector<double> places = spread(ends, kTop + 4, frame.bottom);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const double end_x = frame.x_of(lines[i].points.back().x);
    // A faint thread from the end of the line to its name.
    svg.add(R"(<polyline points="{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}" fill="none" )"
            R"(stroke="{}" stroke-width="0.75" opacity="0.55"/>)",
            end_x, ends[i], std::max(end_x, frame.right), ends[i], frame.right + 14, places[i],
            colour_of(i));
    const std::array<std::pair<double, double>, 2> sample = {
        {{frame.right + 18, places[i]}, {frame.right + 40, places[i]}}};
    svg.line(sample, colour_of(i), 2.5, dashes_of(i));
    svg.text(frame.right + 47, places[i] + 4, fmt::format(R"(font-size="12" fill="{}")", kInk),
             end_text(lines[i]));
  }
}

std::size_t letters_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;
  }));
}

}  // namespace

std::string draw_line_plot(const LinePlot& plot) {
  const std::vector<PlotLine> lines = drawable(plot);
  std::size_t longest = 0;
  for (const PlotLine& line : lines) {
    longest = std::max(longest, letters_of(end_text(line)));
  }
  Frame frame;
  frame.x = x_axis(lines, plot.log_x);
  frame.y = y_axis(lines);
  frame.right = kWidth - 58 - kLetterWidth * static_cast<double>(longest);
  frame.bottom = kTop + std::max(350.0, kLabelHeight * static_cast<double>(lines.size()));

  const double height = frame.bottom + kBelow;
  Svg svg(kWidth, height);
  svg.add(R"(<clipPath id="plot"><rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>)"
          "</clipPath>",
          kLeft - 5, kTop, frame.right - kLeft + 10, frame.bottom - kTop + 3);
  svg.text(kLeft, 30, fmt::format(R"(font-size="16" font-weight="600" fill="{}")", kInk),
           shortened(plot.title, 90));
  draw_axes(svg, plot, frame);
  svg.add(R"svg(<g clip-path="url(#plot)">)svg");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::vector<std::pair<double, double>> places;
    for (const PlotPoint& p : lines[i].points) {
      places.emplace_back(frame.x_of(p.x), frame.y_of(p.y));
    }
    svg.line(places, colour_of(i), 2, dashes_of(i));
  }
  svg.add("</g>");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const PlotPoint& end = lines[i].points.back();
    if (frame.y.place(end.y) <= 1.0) {
      svg.dot(frame.x_of(end.x), frame.y_of(end.y), 3.5,
              fmt::format(R"(fill="{}" stroke="#ffffff" stroke-width="1")", colour_of(i)));
    }
  }
  draw_names(svg, lines, frame);
  if (lines.empty()) {
    svg.text((kLeft + frame.right) / 2, (kTop + frame.bottom) / 2,
             fmt::format(R"(font-size="14" fill="{}" text-anchor="middle")", kFaintInk),
             "nothing measured yet");
  }
  return svg.take();
}

}  // namespace rondo
