// What a training run shows while it goes on: one line redrawn in place on a terminal, plain lines
// elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace rondo {

// Where the display writes, and what may be written there.
struct Terminal {
  bool interactive = false;  // lines can be redrawn in place
  bool utf8 = false;
  bool colour = false;
  int descriptor = -1;  // asked for the width whenever a line is drawn; -1: the width is fixed
  int fixed_width = 80;

  // Columns of a line.
  int width() const;
};

// What `descriptor` (1: standard output) leads to. Follows TERM, NO_COLOR (https://no-color.org)
// and the locale's character set in LC_ALL, LC_CTYPE or LANG.
Terminal detect_terminal(int descriptor);

struct TrainingProgress {
  std::int64_t step = 0;  // done
  std::int64_t total_steps = 0;
  double epoch = 0.0;  // passes over the training data, with the part of the present one
  std::string loss;    // of training: "2.431 BPC"
  double tokens_per_second = 0.0;
  double lr = 0.0;
  double grad_norm = 0.0;
  double seconds_left = 0.0;
};

struct EvaluationEvent {
  std::string split;  // "dev" or "test"
  std::int64_t step = 0;
  std::string result;  // "2.431 BPC"
  bool best = false;   // the lowest so far
  bool saved = false;  // its checkpoint was written
};

struct ProgressOptions {
  // Steps between two plain lines; a terminal is redrawn sooner.
  std::int64_t plain_interval = 10;
  // The least time between two redraws.
  std::chrono::milliseconds redraw_interval{100};
};

class ProgressDisplay {
 public:
  ProgressDisplay(std::ostream& out, Terminal terminal, ProgressOptions options = {});
  // Clears the line, so that whatever is printed next starts on a clean one.
  ~ProgressDisplay();
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  // May be called at every step; shows what the options allow, and the last step always.
  void update(const TrainingProgress& progress);

  // "dev 2.431 BPC at step 400 (best so far), saved", on a line that stays.
  void print_evaluation(const EvaluationEvent& event);
  // Any other line that stays; `line` has no line break.
  void print_event(std::string_view line);
  // A heading and rows of a name and a value, the values below one another.
  void print_summary(std::string_view heading,
                     std::span<const std::pair<std::string, std::string>> rows);

  // Takes the redrawn line away, for others who write to the same terminal.
  void clear();

 private:
  void redraw(const TrainingProgress& progress);
  std::string bar(double done, std::size_t length) const;
  std::string coloured(std::string_view code, std::string_view text) const;

  std::ostream& out_;
  Terminal terminal_;
  ProgressOptions options_;
  bool line_shown_ = false;
  std::int64_t plain_lines_ = -1;  // the interval in which the last plain line was printed
  std::chrono::steady_clock::time_point last_redraw_;
};

}  // namespace rondo
