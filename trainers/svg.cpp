#include "trainers/svg.h"

#include <cmath>

namespace rondo {
namespace {

std::string escape(std::string_view text) {
  std::string escaped;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      default:
        if (static_cast<unsigned char>(letter) >= 0x20U) {  // XML has no control characters
          escaped += letter;
        }
    }
  }
  return escaped;
}

}  // namespace

Svg::Svg(double width, double height) {
  add(R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" )"
      R"(height="{1}" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, )"
      R"(Arial, sans-serif">)",
      width, height);
  add(R"(<rect width="100%" height="100%" rx="6" fill="#ffffff"/>)");
}

void Svg::text(double x, double y, std::string_view attributes, std::string_view content) {
  add(R"(<text x="{:.1f}" y="{:.1f}" {}>{}</text>)", x, y, attributes, escape(content));
}

void Svg::line(std::span<const std::pair<double, double>> points, std::string_view colour,
               double width, std::string_view attributes) {
  if (points.size() == 1) {
    dot(points[0].first, points[0].second, width, fmt::format(R"(fill="{}")", colour));
    return;
  }
  std::string list;
  for (const auto& [x, y] : points) {
    fmt::format_to(std::back_inserter(list), "{}{:.1f},{:.1f}", list.empty() ? "" : " ", x, y);
  }
  add(R"(<polyline points="{}" fill="none" stroke="{}" stroke-width="{}" )"
      R"(stroke-linejoin="round" stroke-linecap="round"{}/>)",
      list, colour, width, attributes);
}

void Svg::dot(double x, double y, double radius, std::string_view attributes) {
  add(R"(<circle cx="{:.1f}" cy="{:.1f}" r="{}" {}/>)", x, y, radius, attributes);
}

std::string Svg::take() {
  add("</svg>");
  return std::move(text_);
}

double nice_tick(double span, int ticks) {
  const double rough = span / ticks;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough * (1.0 - 1e-9)) {
      return factor * power;
    }
  }
  return 10.0 * power;
}

std::string shortened(std::string_view text, std::size_t letters) {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool starts_letter = (static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U;
    if (starts_letter && ++seen > letters) {
      return std::string(text.substr(0, i)) + "\u2026";
    }
  }
  return std::string(text);
}

}  // namespace rondo
