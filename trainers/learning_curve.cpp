#include "trainers/learning_curve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "trainers/svg.h"

namespace rondo {
namespace {

constexpr double kWidth = 720;
constexpr double kHeight = 420;
// The plot itself.
constexpr double kLeft = 66;
constexpr double kRight = kWidth - 26;
constexpr double kTop = 70;
constexpr double kBottom = kHeight - 54;

constexpr std::string_view kTrainLight = "#b5cfee";
constexpr std::string_view kTrain = "#1f6fb4";
constexpr std::string_view kDev = "#d1570f";

// A horizontal resolution beyond this many points is not visible.
constexpr std::size_t kMostPoints = 300;

std::vector<CurvePoint> finite(const std::vector<CurvePoint>& points) {
  std::vector<CurvePoint> kept;
  std::copy_if(points.begin(), points.end(), std::back_inserter(kept),
               [](const CurvePoint& point) { return std::isfinite(point.figure); });
  return kept;
}

// Cuts `points` into at most kMostPoints pieces of nearly equal size and calls visit(piece).
template <typename Visit>
void for_each_piece(std::span<const CurvePoint> points, Visit&& visit) {
  const std::size_t pieces = std::min(points.size(), kMostPoints);
  for (std::size_t piece = 0; piece < pieces; ++piece) {
    const std::size_t begin = piece * points.size() / pieces;
    const std::size_t end = (piece + 1) * points.size() / pieces;
    visit(points.subspan(begin, end - begin));
  }
}

// The lowest and the highest point of each piece, so that a thinned line is as ragged as the whole.
std::vector<CurvePoint> extremes(std::span<const CurvePoint> points) {
  std::vector<CurvePoint> kept;
  for_each_piece(points, [&](std::span<const CurvePoint> piece) {
    auto [low, high] = std::minmax_element(
        piece.begin(), piece.end(),
        [](const CurvePoint& a, const CurvePoint& b) { return a.figure < b.figure; });
    kept.push_back(*std::min(low, high));
    if (low != high) {
      kept.push_back(*std::max(low, high));
    }
  });
  return kept;
}

// The middle step and the mean value.
CurvePoint mean(std::span<const CurvePoint> points) {
  CurvePoint result{points[points.size() / 2].step, 0.0};
  for (const CurvePoint& point : points) {
    result.figure += point.figure / static_cast<double>(points.size());
  }
  return result;
}

// A moving average over about a twentieth of the run. Where the run starts, and falls steeply, the
// window shrinks to stay centred; where it ends, the window only looks back.
std::vector<CurvePoint> smooth(std::span<const CurvePoint> points) {
  std::vector<CurvePoint> means;
  for_each_piece(points, [&](std::span<const CurvePoint> piece) { means.push_back(mean(piece)); });
  const std::size_t widest = means.size() / 40;
  std::vector<CurvePoint> smoothed;
  for (std::size_t i = 0; i < means.size(); ++i) {
    const std::size_t back = std::min(widest, i);
    const std::size_t ahead = std::min(back, means.size() - 1 - i);
    smoothed.push_back(
        {means[i].step, mean(std::span(means).subspan(i - back, back + ahead + 1)).figure});
  }
  return smoothed;
}

// The range of an axis and the distance of its ticks, which stand at multiples of it.
struct Axis {
  double low = 0.0;
  double high = 1.0;
  double tick = 0.5;
};

Axis step_axis(const LearningCurve& curve) {
  std::int64_t last = 1;
  for (const auto* points : {&curve.train, &curve.dev}) {
    for (const CurvePoint& point : *points) {
      last = std::max(last, point.step);
    }
  }
  const auto high = static_cast<double>(last);
  return {0.0, high, std::max(1.0, nice_tick(high, 8))};
}

// From the lowest to the highest value that is shown, with some room around them.
Axis figure_axis(const LearningCurve& curve, double last_step) {
  constexpr double kFar = std::numeric_limits<double>::infinity();
  double low = kFar;
  double high = -kFar;
  double high_later = -kFar;
  for (const auto* points : {&curve.train, &curve.dev}) {
    for (const CurvePoint& point : *points) {
      low = std::min(low, point.figure);
      high = std::max(high, point.figure);
      if (static_cast<double>(point.step) >= 0.1 * last_step) {
        high_later = std::max(high_later, point.figure);
      }
    }
  }
  if (low > high) {
    return {};
  }
  // The start falls from 8 bits or so. Where that would press all the rest into less than half of
  // the picture, the first tenth may leave it at the top.
  if (high_later >= low && high - low > 2 * (high_later - low)) {
    high = high_later;
  }
  // A random byte has 8 bits; a run beyond twice that has diverged, and leaves the picture too.
  high = std::min(high, std::max(16.0, 3 * low));

  const double middle = low + (high - low) / 2;
  const double span = std::max({high - low, 0.02 * std::abs(middle), 0.01});
  Axis axis{middle - 0.6 * span, middle + 0.56 * span, 0.0};
  if (low >= 0.0) {
    axis.low = std::max(axis.low, 0.0);
  }
  axis.tick = nice_tick(axis.high - axis.low, 7);
  return axis;
}

double x_of(const Axis& axis, double step) {
  return kLeft + (kRight - kLeft) * (step - axis.low) / (axis.high - axis.low);
}

// Values far outside end up just outside; the plot is clipped anyway.
double y_of(const Axis& axis, double figure) {
  const double y = kBottom - (kBottom - kTop) * (figure - axis.low) / (axis.high - axis.low);
  return std::clamp(y, -kHeight, 2 * kHeight);
}

// "0", "500", "20k", "1.5M".
std::string step_label(double step, const Axis& axis) {
  if (step == 0.0) {
    return "0";
  }
  if (axis.tick >= 1e5 && axis.high >= 1e6) {
    return fmt::format("{:g}M", step / 1e6);
  }
  return axis.tick >= 1e3 ? fmt::format("{:g}k", step / 1e3) : fmt::format("{:g}", step);
}

std::string figure_label(double figure, const Axis& axis) {
  if (axis.tick >= 1e4) {
    return fmt::format("{:.0e}", figure);
  }
  const int decimals = static_cast<int>(-std::floor(std::log10(axis.tick)));
  return fmt::format("{:.{}f}", figure, std::max(decimals, 0));
}

void draw_line(Svg& svg, const Axis& x, const Axis& y, std::span<const CurvePoint> points,
               std::string_view colour, double width) {
  std::vector<std::pair<double, double>> places;
  for (const CurvePoint& point : points) {
    places.emplace_back(x_of(x, static_cast<double>(point.step)), y_of(y, point.figure));
  }
  svg.line(places, colour, width);
}

void draw_axes(Svg& svg, const Axis& x, const Axis& y, std::string_view y_name) {
  const std::string labels = fmt::format(R"(font-size="12" fill="{}")", kFaintInk);
  for (double i = std::ceil(y.low / y.tick); i * y.tick <= y.high; ++i) {
    const double at = y_of(y, i * y.tick);
    svg.add(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}"/>)", kLeft, at,
            kRight, at, kGrid);
    svg.text(kLeft - 9, at + 4, labels + R"( text-anchor="end")", figure_label(i * y.tick, y));
  }
  for (double i = 0; i * x.tick <= x.high; ++i) {
    const double at = x_of(x, i * x.tick);
    svg.add(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}"/>)", at, kTop, at,
            kBottom, kGrid);
    svg.text(at, kBottom + 19, labels + R"( text-anchor="middle")", step_label(i * x.tick, x));
  }
  svg.add(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}"/>)", kLeft, kBottom,
          kRight, kBottom, kFaintInk);
  const std::string names = labels + R"( text-anchor="middle")";
  svg.text((kLeft + kRight) / 2, kHeight - 13, names, "step");
  const double middle = (kTop + kBottom) / 2;
  svg.text(18, middle, fmt::format(R"svg({} transform="rotate(-90 18 {:.1f})")svg", names, middle),
           y_name);
}

// One row below the title, where no curve can come.
void draw_legend(Svg& svg, const LearningCurve& curve, const CurvePoint* best) {
  constexpr double kRow = 52;
  const std::string style = fmt::format(R"(font-size="12" fill="{}")", kInk);
  double x = kLeft;
  const auto entry = [&](std::string_view colour, std::string_view label, double advance) {
    svg.add(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}" )"
            R"(stroke-width="2.5" stroke-linecap="round"/>)",
            x, kRow - 4, x + 20, kRow - 4, colour);
    svg.text(x + 27, kRow, style, label);
    x += advance;
  };
  if (!curve.train.empty()) {
    entry(kTrainLight, "train", 76);
    entry(kTrain, "train, moving average", 176);
  }
  if (!curve.dev.empty()) {
    svg.dot(x + 10, kRow - 4, 3, fmt::format(R"(fill="{}")", kDev));
    entry(kDev, "dev", 70);
  }
  if (best != nullptr) {
    svg.text(kRight, kRow, style + R"( text-anchor="end")",
             fmt::format("best dev: {:.3f} at step {}", best->figure, best->step));
  }
}

// The ring, and the value on the side of it where the training average is not.
void draw_best(Svg& svg, const Axis& x, const Axis& y, const CurvePoint& best,
               std::span<const CurvePoint> train_average) {
  const double at_x = x_of(x, static_cast<double>(best.step));
  const double at_y = y_of(y, best.figure);
  const auto beside =
      std::find_if(train_average.begin(), train_average.end(),
                   [&](const CurvePoint& point) { return point.step >= best.step; });
  const bool above = at_y > kTop + 30 && !train_average.empty() &&
                     (beside == train_average.end() ? beside[-1] : *beside).figure < best.figure;
  svg.dot(at_x, at_y, 5.5, fmt::format(R"(fill="#ffffff" stroke="{}" stroke-width="2.5")", kDev));
  svg.text(std::clamp(at_x, kLeft + 22, kRight - 18), above ? at_y - 13 : at_y + 23,
           fmt::format(R"(font-size="13" font-weight="600" fill="{}" text-anchor="middle" )"
                       R"(stroke="#ffffff" stroke-width="4" stroke-linejoin="round" )"
                       R"(paint-order="stroke")",
                       kDev),
           fmt::format("{:.3f}", best.figure));
}

}  // namespace

LearningCurve learning_curve(std::span<const MetricsRecord> records, std::string title) {
  LearningCurve curve;
  curve.title = std::move(title);
  for (const MetricsRecord& record : records) {
    const double bits = record.number("bpc");
    const CurvePoint point{record.step, std::isnan(bits) ? record.number("ppl") : bits};
    curve.perplexity = curve.perplexity || std::isfinite(record.number("ppl"));
    if (std::isfinite(point.figure) && record.kind == "train") {
      curve.train.push_back(point);
    } else if (std::isfinite(point.figure) && record.kind == "dev") {
      curve.dev.push_back(point);
    }
  }
  return curve;
}

std::string draw_learning_curve(const LearningCurve& curve) {
  const LearningCurve clean{curve.title, finite(curve.train), finite(curve.dev), curve.perplexity};
  const Axis x = step_axis(clean);
  const Axis y = figure_axis(clean, x.high);
  const auto best = std::min_element(
      clean.dev.begin(), clean.dev.end(),
      [](const CurvePoint& a, const CurvePoint& b) { return a.figure < b.figure; });

  const std::vector<CurvePoint> train_average = smooth(clean.train);

  Svg svg(kWidth, kHeight);
  // A little wider than the plot, so that points at its ends are whole.
  svg.add(R"(<clipPath id="plot"><rect x="{}" y="{}" width="{}" height="{}"/></clipPath>)",
          kLeft - 5, kTop, kRight - kLeft + 10, kBottom - kTop);
  svg.text(kLeft, 28, fmt::format(R"(font-size="16" font-weight="600" fill="{}")", kInk),
           shortened(clean.title, 64));  // what fits above the plot
  draw_legend(svg, clean, best == clean.dev.end() ? nullptr : &*best);
  draw_axes(svg, x, y, clean.perplexity ? "perplexity" : "bits per character");

  svg.add(R"svg(<g clip-path="url(#plot)">)svg");
  draw_line(svg, x, y, extremes(clean.train), kTrainLight, 1.25);
  draw_line(svg, x, y, train_average, kTrain, 2.25);
  draw_line(svg, x, y, clean.dev, kDev, 2);
  if (clean.dev.size() <= 60) {  // more would hide the line
    for (const CurvePoint& point : clean.dev) {
      svg.dot(x_of(x, static_cast<double>(point.step)), y_of(y, point.figure), 3,
              fmt::format(R"(fill="{}")", kDev));
    }
  }
  svg.add("</g>");
  if (best != clean.dev.end()) {
    draw_best(svg, x, y, *best, train_average);
  }
  if (clean.train.empty() && clean.dev.empty()) {
    svg.text((kLeft + kRight) / 2, (kTop + kBottom) / 2,
             fmt::format(R"(font-size="14" fill="{}" text-anchor="middle")", kFaintInk),
             "nothing measured yet");
  }
  return svg.take();
}

}  // namespace rondo
