#include "tools/progress.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <vector>

#include "tools/format.h"

namespace rondo {
namespace {

constexpr std::string_view kClearLine = "\r\x1b[K";
constexpr std::string_view kGreen = "32";
constexpr std::string_view kBold = "1";
constexpr std::string_view kFaint = "2";

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// The first of the three variables that is set decides, as in setlocale(3).
bool is_utf8_locale() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    std::string locale(environment(name));
    if (!locale.empty()) {
      std::transform(locale.begin(), locale.end(), locale.begin(),
                     [](unsigned char letter) { return std::tolower(letter); });
      return locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
    }
  }
  return false;
}

// What a line shows, the most useful first.
std::vector<std::string> fields(const TrainingProgress& progress) {
  return {fmt::format("{}/{}", progress.step, progress.total_steps),
          progress.loss,
          fmt::format("{} left", format_duration(progress.seconds_left)),
          fmt::format("{} tok/s", format_count(progress.tokens_per_second)),
          fmt::format("lr {:.2e}", progress.lr),
          fmt::format("grad {:.2f}", progress.grad_norm),
          fmt::format("epoch {:.2f}", progress.epoch)};
}

}  // namespace

int Terminal::width() const {
  winsize size{};
  if (descriptor >= 0 && ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return size.ws_col;
  }
  return fixed_width;
}

Terminal detect_terminal(int descriptor) {
  Terminal terminal;
  terminal.descriptor = descriptor;
  const std::string_view type = environment("TERM");
  terminal.interactive = ::isatty(descriptor) == 1 && !type.empty() && type != "dumb";
  terminal.utf8 = is_utf8_locale();
  terminal.colour = terminal.interactive && environment("NO_COLOR").empty();
  return terminal;
}

ProgressDisplay::ProgressDisplay(std::ostream& out, Terminal terminal, ProgressOptions options)
    : out_(out), terminal_(terminal), options_(options) {
  options_.plain_interval = std::max<std::int64_t>(options_.plain_interval, 1);
}

ProgressDisplay::~ProgressDisplay() { clear(); }

void ProgressDisplay::update(const TrainingProgress& progress) {
  const bool last = progress.step >= progress.total_steps;
  if (terminal_.interactive) {
    const auto now = std::chrono::steady_clock::now();
    if (last || !line_shown_ || now - last_redraw_ >= options_.redraw_interval) {
      redraw(progress);
      last_redraw_ = now;
    }
    return;
  }
  const std::int64_t interval = progress.step / options_.plain_interval;
  if (last || interval != plain_lines_) {
    plain_lines_ = interval;
    out_ << fmt::format("step {}\n", fmt::join(fields(progress), "  ")) << std::flush;
  }
}

void ProgressDisplay::print_evaluation(const EvaluationEvent& event) {
  print_event(fmt::format("{} {} at step {}{}{}", event.split, coloured(kBold, event.result),
                          event.step, event.best ? coloured(kGreen, " (best so far)") : "",
                          event.saved ? ", saved" : ""));
}

void ProgressDisplay::print_event(std::string_view line) {
  clear();
  out_ << line << '\n' << std::flush;
}

void ProgressDisplay::print_summary(std::string_view heading,
                                    std::span<const std::pair<std::string, std::string>> rows) {
  std::size_t widest = 0;
  for (const auto& [name, value] : rows) {
    widest = std::max(widest, columns(name));
  }
  clear();
  out_ << '\n' << coloured(kBold, heading) << '\n';
  for (const auto& [name, value] : rows) {
    out_ << "  " << coloured(kFaint, name) << std::string(widest - columns(name) + 2, ' ') << value
         << '\n';
  }
  out_ << std::flush;
}

void ProgressDisplay::clear() {
  if (line_shown_) {
    out_ << kClearLine << std::flush;
    line_shown_ = false;
  }
}

// The bar, which gives way down to a few columns, and as many fields as fit behind it. On a very
// narrow terminal there is no bar, and the text is cut.
void ProgressDisplay::redraw(const TrainingProgress& progress) {
  constexpr std::size_t kNarrow = 40;
  constexpr std::size_t kShortestBar = 6;
  constexpr std::size_t kLongestBar = 30;
  // The last column stays free: some terminals wrap once it is filled.
  const auto room = static_cast<std::size_t>(std::max(terminal_.width() - 1, 0));
  const std::size_t text_room = room >= kNarrow ? room - kShortestBar - 2 : room;
  std::string text;
  for (const std::string& field : fields(progress)) {
    if (!text.empty() && columns(text) + 2 + columns(field) > text_room) {
      break;
    }
    text += (text.empty() ? "" : "  ") + field;
  }

  std::string line(kClearLine);
  if (room >= kNarrow && columns(text) <= text_room) {
    const double done = progress.total_steps > 0 ? static_cast<double>(progress.step) /
                                                       static_cast<double>(progress.total_steps)
                                                 : 1.0;
    line += bar(done, std::min(kLongestBar, room - columns(text) - 2)) + "  ";
  }
  line += truncate_columns(text, room);
  out_ << line << std::flush;
  line_shown_ = true;
}

std::string ProgressDisplay::bar(double done, std::size_t length) const {
  const auto filled =
      static_cast<std::size_t>(std::clamp(done, 0.0, 1.0) * static_cast<double>(length));
  std::string full;
  std::string rest;
  for (std::size_t i = 0; i < length; ++i) {
    if (i < filled) {
      full += terminal_.utf8 ? "\u2501" : "=";
    } else {
      rest += terminal_.utf8 ? "\u2500" : "-";
    }
  }
  return coloured(kGreen, full) + coloured(kFaint, rest);
}

std::string ProgressDisplay::coloured(std::string_view code, std::string_view text) const {
  return terminal_.colour && !text.empty() ? fmt::format("\x1b[{}m{}\x1b[0m", code, text)
                                           : std::string(text);
}

}  // namespace rondo
