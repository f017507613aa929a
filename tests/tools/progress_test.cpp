#include "tools/progress.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <optional>
#include <sstream>

#include "tests/support/testing.h"
#include "tools/format.h"

using namespace rondo;

namespace {

TrainingProgress progress_at(std::int64_t step) {
  return {step, 1000, 0.25, "2.431 BPC", 12345.0, 3e-4, 0.8312, 80.0};
}

const std::string kFields =
    "700/1000  2.431 BPC  1m 20s left  12.3k tok/s  lr 3.00e-04  grad 0.83  epoch 0.25";

// A terminal of fixed width, without colour.
Terminal terminal_of(int width, bool utf8) {
  Terminal terminal;
  terminal.interactive = true;
  terminal.utf8 = utf8;
  terminal.fixed_width = width;
  return terminal;
}

ProgressOptions always() { return {1, std::chrono::milliseconds(0)}; }

// What a terminal would show of `output`, whose only control sequence is "clear this line".
std::string on_screen(std::string output) {
  const std::string clear = "\r\x1b[K";
  for (std::size_t at = output.find(clear); at != std::string::npos; at = output.find(clear)) {
    const std::size_t line = output.rfind('\n', at);
    const std::size_t begin = line == std::string::npos ? 0 : line + 1;
    output.erase(begin, at + clear.size() - begin);
  }
  return output;
}

// Sets environment variables (nullopt: unset) and puts the old values back.
class Environment {
 public:
  using Variables = std::map<std::string, std::optional<std::string>>;
  explicit Environment(const Variables& variables) {
    for (const auto& [name, value] : variables) {
      const char* before = ::getenv(name.c_str());
      before_[name] = before != nullptr ? std::optional<std::string>(before) : std::nullopt;
      set(name, value);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() {
    for (const auto& [name, value] : before_) {
      set(name, value);
    }
  }

 private:
  static void set(const std::string& name, const std::optional<std::string>& value) {
    value ? ::setenv(name.c_str(), value->c_str(), 1) : ::unsetenv(name.c_str());
  }

  Variables before_;
};

}  // namespace

TEST_CASE("away from a terminal progress is plain lines, one an interval", "[tools][progress]") {
  std::ostringstream out;
  {
    ProgressDisplay display(out, Terminal{}, {100, std::chrono::milliseconds(0)});
    for (const std::int64_t step : {99, 100, 101, 250, 299, 1000}) {
      display.update(progress_at(step));
    }
    display.print_evaluation({"dev", 1000, "2.431 BPC", true, true});
    display.print_evaluation({"test", 1000, "2.500 BPC", false, false});
  }
  const std::string rest =
      "/1000  2.431 BPC  1m 20s left  12.3k tok/s  lr 3.00e-04  grad 0.83  epoch 0.25\n";
  REQUIRE(out.str() == "step 99" + rest + "step 100" + rest + "step 250" + rest + "step 1000" +
                           rest + "dev 2.431 BPC at step 1000 (best so far), saved\n" +
                           "test 2.500 BPC at step 1000\n");
}

TEST_CASE("on a terminal one line is redrawn and cleared for others", "[tools][progress]") {
  std::ostringstream out;
  {
    ProgressDisplay display(out, terminal_of(100, false), always());
    display.update(progress_at(1));
    display.update(progress_at(500));
    REQUIRE(on_screen(out.str()) ==
            "========--------  500/1000  2.431 BPC  1m 20s left  12.3k tok/s  lr 3.00e-04  "
            "grad 0.83  epoch 0.25");
    display.print_evaluation({"dev", 500, "2.431 BPC", false, false});
    REQUIRE(on_screen(out.str()) == "dev 2.431 BPC at step 500\n");
    display.update(progress_at(501));
    REQUIRE(on_screen(out.str()).find("501/1000") != std::string::npos);
  }
  REQUIRE(on_screen(out.str()) == "dev 2.431 BPC at step 500\n");
}

TEST_CASE("a redrawn line never fills the terminal", "[tools][progress]") {
  for (const bool utf8 : {false, true}) {
    for (int width = 0; width <= 160; ++width) {
      INFO("width " << width);
      std::ostringstream out;
      ProgressDisplay display(out, terminal_of(width, utf8), always());
      display.update(progress_at(700));
      const std::string line = on_screen(out.str());
      REQUIRE(static_cast<int>(columns(line)) <= std::max(width - 1, 0));
      REQUIRE((line.find(utf8 ? "\u2501" : "=") != std::string::npos) == (width > 40));
      REQUIRE((line.find(utf8 ? "=" : "\u2501") == std::string::npos));
      if (width > 40) {  // fields are left out whole
        const std::string text = line.substr(line.find("  ") + 2);
        REQUIRE((kFields + "  ").rfind(text + "  ", 0) == 0);
      }
    }
  }
}

TEST_CASE("redraws wait for their interval, but the last step is shown", "[tools][progress]") {
  std::ostringstream out;
  ProgressDisplay display(out, terminal_of(80, false), {1, std::chrono::hours(1)});
  display.update(progress_at(1));
  display.update(progress_at(2));
  REQUIRE(on_screen(out.str()).find(" 1/1000") != std::string::npos);
  display.update(progress_at(1000));
  REQUIRE(on_screen(out.str()).find(" 1000/1000") != std::string::npos);
}

TEST_CASE("a summary lines its values up", "[tools][progress]") {
  std::ostringstream out;
  ProgressDisplay display(out, Terminal{});
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"test", "2.5 BPC"}, {"dur\u00e9e", "1m 20s"}, {"parameters", "42.1M"}};
  display.print_summary("Done", rows);
  REQUIRE(out.str() ==
          "\nDone\n  test        2.5 BPC\n  dur\u00e9e       1m 20s\n  parameters  42.1M\n");
}

TEST_CASE("colour is used only where it is wanted", "[tools][progress]") {
  for (const bool colour : {false, true}) {
    std::ostringstream out;
    Terminal terminal = terminal_of(80, true);
    terminal.colour = colour;
    ProgressDisplay display(out, terminal, always());
    display.update(progress_at(500));
    display.print_evaluation({"dev", 500, "2.431 BPC", true, true});
    REQUIRE((out.str().find("\x1b[32m") != std::string::npos) == colour);
  }
}

TEST_CASE("the locale decides on UTF-8", "[tools][progress]") {
  const auto utf8_with = [](const char* lc_all, const char* lc_ctype, const char* lang) {
    const Environment environment({{"LC_ALL", lc_all}, {"LC_CTYPE", lc_ctype}, {"LANG", lang}});
    return detect_terminal(1).utf8;
  };
  REQUIRE(utf8_with("", "", "en_GB.UTF-8"));
  REQUIRE(utf8_with("", "C.utf8", "C"));
  REQUIRE_FALSE(utf8_with("C", "", "en_GB.UTF-8"));
  REQUIRE_FALSE(utf8_with("", "", "de_DE.ISO-8859-1"));
  REQUIRE_FALSE(utf8_with("", "", ""));
}

TEST_CASE("a terminal is told from a file, and asked for its width", "[tools][progress]") {
  const Environment environment({{"TERM", "xterm"}, {"NO_COLOR", std::nullopt}});
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  const Terminal no_terminal = detect_terminal(::fileno(file));
  REQUIRE_FALSE(no_terminal.interactive);
  REQUIRE_FALSE(no_terminal.colour);
  REQUIRE(no_terminal.width() == no_terminal.fixed_width);
  std::fclose(file);

  const int controller = ::posix_openpt(O_RDWR | O_NOCTTY);
  REQUIRE(controller >= 0);
  REQUIRE(::grantpt(controller) == 0);
  REQUIRE(::unlockpt(controller) == 0);
  const int descriptor = ::open(::ptsname(controller), O_RDWR | O_NOCTTY);
  REQUIRE(descriptor >= 0);
  const Terminal terminal = detect_terminal(descriptor);
  REQUIRE(terminal.interactive);
  REQUIRE(terminal.colour);
  for (const unsigned short width : {50, 132}) {  // as when a window is resized
    winsize size{};
    size.ws_col = width;
    REQUIRE(::ioctl(controller, TIOCSWINSZ, &size) == 0);
    REQUIRE(terminal.width() == width);
  }
  {
    const Environment no_colour(Environment::Variables{{"NO_COLOR", "1"}});
    REQUIRE(detect_terminal(descriptor).interactive);
    REQUIRE_FALSE(detect_terminal(descriptor).colour);
  }
  {
    const Environment dumb(Environment::Variables{{"TERM", "dumb"}});
    REQUIRE_FALSE(detect_terminal(descriptor).interactive);
    REQUIRE_FALSE(detect_terminal(descriptor).colour);
  }
  ::close(descriptor);
  ::close(controller);
}
