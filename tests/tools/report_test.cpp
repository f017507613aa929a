// Tables of runs, and `rondo report`.
#include "tools/report.h"

#include <cmath>
#include <filesystem>
#include <sstream>

#include "core/error.h"
#include "tests/support/program.h"
#include "tests/support/svg.h"
#include "trainers/config_yaml.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

RunReport run_of(const std::string& name, double test_nats, bool words = false) {
  RunReport run;
  run.name = name;
  run.folder = "runs/" + name;
  run.in_perplexity = words;
  run.config.training.steps = 100;
  run.step = 40;
  run.parameters = 42345815;
  run.tokens = 1.5e9;
  run.seconds = 22.5 * 3600;
  run.tokens_per_second = 18500;
  run.best_dev = test_nats;
  run.test = test_nats;
  run.dev = {{20, 1e9, 3600, 2.0}, {40, 1.5e9, 22.5 * 3600, test_nats}};
  return run;
}

RunReport published_run() {
  RunReport run = run_of("a_run_with_quite_a_long_name", 0.72);
  run.config.published = {"Enwik8", 1.03, 1.04, "22 GPU hours, \"V100\"", 42000000, 0};
  return run;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

const TableColumn& column_of(const std::vector<TableColumn>& table, const std::string& heading) {
  for (const TableColumn& column : table) {
    if (column.heading == heading) {
      return column;
    }
  }
  FAIL("no column " << heading);
  return table.front();
}

// A run folder without checkpoints.
void write_run(const std::filesystem::path& folder, const std::string& metrics) {
  std::filesystem::create_directories(folder);
  Config config;
  config.model.projection_size = 4;
  config.training.steps = 4;
  config.evaluation.test_at_end = false;
  write_bytes(folder / "config.yaml", dump_config(config));
  write_bytes(folder / "metrics.jsonl", metrics);
}

std::string dev(int step, double nats) {
  return fmt::format("{{\"kind\":\"dev\",\"step\":{},\"nats_per_token\":{},\"seconds\":{}}}\n",
                     step, nats, step * 10);
}

}  // namespace

TEST_CASE("a table has what was measured beside what was published", "[tools][report]") {
  const std::vector<RunReport> runs{published_run(), run_of("b", std::nan(""))};
  const std::vector<TableColumn> table = report_table(runs);
  REQUIRE(column_of(table, "parameters").cells[0] == "42.3M");
  REQUIRE(column_of(table, "tokens").cells[0] == "1.5B");
  REQUIRE(column_of(table, "hours").cells[0] == "22.5");
  REQUIRE(column_of(table, "test BPC").cells == std::vector<std::string>{"1.039", ""});
  REQUIRE(column_of(table, "test published").cells == std::vector<std::string>{"1.030", ""});
  REQUIRE(column_of(table, "test diff").cells == std::vector<std::string>{"+0.009", ""});
  REQUIRE(column_of(table, "dev diff").cells == std::vector<std::string>{"-0.001", ""});
  REQUIRE(column_of(table, "status").cells[1] == "step 40 of 100");

  // Bytes and words: each figure has its unit.
  const std::vector<RunReport> mixed{run_of("a", 0.72), run_of("w", 3.0, true)};
  REQUIRE(column_of(report_table(mixed), "test").cells ==
          std::vector<std::string>{"1.039 BPC", "20.09 ppl"});
  REQUIRE_THROWS_WITH(dev_curves(mixed, "tokens"), ContainsSubstring("no axis in common"));
}

TEST_CASE("a table gives way to a narrow terminal in the order that is told", "[tools][report]") {
  const std::vector<RunReport> runs{published_run(), run_of("b", 0.7)};
  const std::vector<TableColumn> table = report_table(runs);
  const std::vector<std::string> order{
      "published cost", "tokens/s", "tokens",         "hours",     "parameters",
      "dev published",  "dev diff", "test published", "test diff", "dev BPC"};
  std::size_t gone = 0;
  for (std::size_t width = 200; width >= 40; --width) {
    const std::vector<std::string> lines = lines_of(terminal_table(table, width));
    REQUIRE(lines.size() == 3);
    for (const std::string& line : lines) {
      REQUIRE(columns(line) <= width);
    }
    const auto shown = [&](const std::string& heading) {
      return (" " + lines[0] + " ").find(" " + heading + " ") != std::string::npos;
    };
    while (gone < order.size() && !shown(order[gone])) {
      ++gone;
    }
    for (std::size_t i = gone; i < order.size(); ++i) {
      CAPTURE(width, lines[0], order[i]);
      REQUIRE(shown(order[i]));
    }
    REQUIRE(shown("test BPC"));
    REQUIRE(shown("status"));
  }
  REQUIRE(gone == order.size());
  // The end of a long name stays.
  REQUIRE(terminal_table(table, 40).find("..") != std::string::npos);
  REQUIRE_THAT(terminal_table(table, 40), ContainsSubstring("long_name"));
}

TEST_CASE("Markdown and CSV have everything", "[tools][report]") {
  const std::vector<RunReport> runs{published_run(), run_of("b", 0.7)};
  const std::vector<std::string> markdown = lines_of(markdown_table(report_table(runs)));
  REQUIRE(markdown.size() == 4);
  for (const TableColumn& column : report_table(runs)) {
    REQUIRE_THAT(markdown[0], ContainsSubstring("| " + column.heading + " |"));
  }
  REQUIRE_THAT(markdown[2], ContainsSubstring("| a_run_with_quite_a_long_name | 42.3M |"));

  const std::vector<std::string> csv = lines_of(report_csv(runs));
  REQUIRE(csv.size() == 3);
  REQUIRE(std::count(csv[0].begin(), csv[0].end(), ',') ==
          std::count(csv[2].begin(), csv[2].end(), ','));
  REQUIRE_THAT(csv[1], ContainsSubstring(",42345815,") &&
                           ContainsSubstring("\"22 GPU hours, \"\"V100\"\"\""));
}

TEST_CASE("runs are sorted, those without a figure last", "[tools][report]") {
  std::vector<RunReport> runs{run_of("a10", std::nan("")), run_of("a9", 0.8), run_of("b", 0.7)};
  runs[2].tokens_per_second = 1;
  const auto order = [&](std::string_view key) {
    sort_runs(runs, key);
    return runs[0].name + " " + runs[1].name + " " + runs[2].name;
  };
  REQUIRE(order("test") == "b a9 a10");
  REQUIRE(order("name") == "a9 a10 b");
  REQUIRE(order("speed") == "a9 a10 b");
}

TEST_CASE("curves stand over tokens, steps or time", "[tools][report]") {
  std::vector<RunReport> runs{run_of("a", 0.72)};
  REQUIRE(dev_curves(runs, "tokens").lines[0].points[1].x == 1.5e9);
  REQUIRE(dev_curves(runs, "steps").lines[0].points[1].x == 40);
  REQUIRE(dev_curves(runs, "hours").lines[0].points[1].x == 22.5);
  REQUIRE(dev_curves(runs, "hours").lines[0].points[1].y == Approx(1.03875));
  runs[0].seconds = 200;
  REQUIRE(dev_curves(runs, "hours").x_label == "minutes of training");
  runs[0].dev.clear();
  REQUIRE_THROWS_WITH(dev_curves(runs, "tokens"), ContainsSubstring("no run was evaluated"));
}

TEST_CASE("rondo report shows runs, and says what it left out", "[tools][cli]") {
  const TemporaryFolder folder;
  write_run(folder / "runs/x=2", dev(2, 3.0) + dev(4, 2.0));
  write_run(folder / "runs/x=10", dev(2, 2.5));
  const std::string runs = (folder / "runs").string();
  REQUIRE(output_of({"report", runs}) ==
          "run   hours  dev BPC  status\n"
          "x=2   0.011    2.885  finished\n"
          "x=10  0.006    3.607  step 2 of 4\n");
  REQUIRE_THAT(output_of({"report", runs, "--sort", "hours", "--format", "csv"}),
               ContainsSubstring("\nx=10,") && ContainsSubstring(",finished,4,4,"));

  write_run(folder / "runs/broken", "nonsense\n");
  const ProcessResult partly = rondo_does({"report", runs});
  REQUIRE(partly.exit_code == 0);
  REQUIRE_THAT(partly.err, ContainsSubstring("left out") && ContainsSubstring("broken"));
  REQUIRE(lines_of(partly.out).size() == 3);
  REQUIRE_THAT(failure_of({"report", (folder / "runs/broken").string()}),
               ContainsSubstring("none of these runs"));
  std::filesystem::create_directory(folder / "empty");
  REQUIRE_THAT(failure_of({"report", (folder / "empty").string()}),
               ContainsSubstring("empty holds no run"));
  REQUIRE_THAT(failure_of({"report", (folder / "none").string()}),
               ContainsSubstring("there is no such folder"));
}

TEST_CASE("rondo report draws curves", "[tools][cli]") {
  const TemporaryFolder folder;
  write_run(folder / "a", dev(2, 3.0) + dev(4, 2.0));
  const std::string run = (folder / "a").string();
  const std::string svg = (folder / "curves.svg").string();
  output_of({"report", run, "--curves", svg, "--x", "hours", "--title", "Mine"});
  const std::vector<std::string> texts = require_well_formed(read_bytes(svg));
  for (const char* text : {"Mine", "seconds of training", "a", "2.885"}) {
    CAPTURE(text);
    REQUIRE(std::find(texts.begin(), texts.end(), text) != texts.end());
  }
  REQUIRE_THAT(failure_of({"report", run, "--curves", (folder / "curves.pdf").string()}),
               ContainsSubstring("ends in .svg or .png"));
  // The table is shown even if the picture cannot be written.
  const ProcessResult unwritable =
      rondo_does({"report", run, "--curves", (folder / "none/curves.svg").string()});
  REQUIRE(unwritable.exit_code == 1);
  REQUIRE_THAT(unwritable.out, ContainsSubstring("finished"));
  REQUIRE_THAT(unwritable.err, ContainsSubstring("none/curves.svg"));
  const std::string png = shell_quoted((folder / "curves.png").string());
  const std::string report = "rondo report " + shell_quoted(run) + " --curves " + png;
  const ProcessResult missing =
      run_process({"/bin/sh", "-c",
                   "PATH=/nowhere " + std::string(RONDO_BINARY) + " report " + shell_quoted(run) +
                       " --curves " + png});
  REQUIRE(missing.exit_code == 1);
  REQUIRE_THAT(missing.err, ContainsSubstring("librsvg2-bin"));
  REQUIRE_FALSE(std::filesystem::exists(folder / "curves.png"));
  if (shell("command -v rsvg-convert").exit_code != 0) {
    WARN("not tried: PNG, for rsvg-convert is not installed");
    return;
  }
  REQUIRE(shell(report).exit_code == 0);
  REQUIRE(read_bytes(folder / "curves.png").starts_with("\x89PNG"));
}
