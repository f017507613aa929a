#include "tools/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "core/parallel.h"

namespace rondo {
namespace {

bool starts_letter(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; }

}  // namespace

std::string format_count(double count) {
  if (!std::isfinite(count)) {
    return "?";
  }
  // Rounding comes first, so that 999.96 thousand is "1.0M" and not "1000.0k".
  std::string_view unit;
  for (const std::string_view next : {"k", "M", "B"}) {
    if (std::abs(count) < (unit.empty() ? 999.5 : 999.95)) {
      break;
    }
    count /= 1000.0;
    unit = next;
  }
  return unit.empty() ? fmt::format("{:.0f}", count) : fmt::format("{:.1f}{}", count, unit);
}

std::string format_bytes(double bytes) {
  const std::string count = format_count(bytes);
  if (count.ends_with('B')) {
    return fmt::format("{} GB", count.substr(0, count.size() - 1));
  }
  if (count.ends_with('k') || count.ends_with('M')) {
    return fmt::format("{} {}B", count.substr(0, count.size() - 1), count.back());
  }
  return count == "?" ? count : count + " B";
}

std::string threads_text() {
  return num_threads() == 1 ? "1 thread" : fmt::format("{} threads", num_threads());
}

std::string format_model(const ModelConfig& model) {
  std::string attending;
  std::int64_t count = 0;
  for (std::int64_t layer = 0; layer < model.num_layers; ++layer) {
    if (layer_attends(model, layer)) {
      attending += fmt::format("{}{}", count++ == 0 ? "" : ", ", layer + 1);
    }
  }
  const std::string which = count == 0                  ? std::string("none")
                            : count == model.num_layers ? std::string("all")
                                                        : attending;
  constexpr std::array<std::string_view, 6> kNames = {
      "SRU", "SRU++", "LSTM", "SHA-LSTM", "Transformer", "Transformer-XL"};  // as in ModelType
  std::string text =
      fmt::format("{}, {} layers of {}", kNames.at(static_cast<std::size_t>(model.type)),
                  model.num_layers, model.hidden_size);
  if (model.projection_size > 0) {
    text += fmt::format(", projection {}", model.projection_size);
  }
  if (model.inner_size > 0) {
    text += fmt::format(", inner {}", model.inner_size);
  }
  if (model.type == ModelType::srupp || model.type == ModelType::sha_lstm) {
    text += fmt::format(", attention in {}", which);
  } else if (model.type == ModelType::sru) {
    text += ", no attention";
  }
  return text;
}

std::string format_duration(double seconds) {
  if (!(seconds >= 0.0) || !std::isfinite(seconds)) {
    return "?";
  }
  if (seconds < 9.95) {
    return fmt::format("{:.1f}s", seconds);
  }
  // A century is long enough, and fits an integer.
  const auto whole = static_cast<std::int64_t>(std::llround(std::min(seconds, 3.2e9)));
  if (whole < 60) {
    return fmt::format("{}s", whole);
  }
  if (whole < 3600) {
    return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  }
  if (whole < 86400) {
    return fmt::format("{}h {:02}m", whole / 3600, whole / 60 % 60);
  }
  return fmt::format("{}d {}h", whole / 86400, whole / 3600 % 24);
}

std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), starts_letter));
}

std::string_view truncate_columns(std::string_view text, std::size_t width) {
  std::size_t used = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (starts_letter(text[i]) && used++ == width) {
      return text.substr(0, i);
    }
  }
  return text;
}

std::string shell_quoted(std::string_view text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_-+=./:,@%").find(c) != std::string_view::npos;
  });
  if (plain) {
    return std::string(text);
  }
  std::string quoted = "'";
  for (const char c : text) {
    quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return quoted + "'";
}

}  // namespace rondo
