#include <filesystem>

#include "core/file.h"
#include "tools/commands.h"
#include "tools/png.h"
#include "tools/report.h"

namespace rondo {
namespace {

struct ReportOptions {
  std::vector<std::string> paths;
  std::string format = "table";
  std::string curves;
  std::string x = "tokens";
  bool log_x = false;
  std::string sort;
  std::string title;
};

bool is_png(const std::string& file) {
  const std::string extension = std::filesystem::path(file).extension().string();
  check(extension == ".svg" || extension == ".png",
        "--curves: expected a file that ends in .svg or .png, found {}", file);
  return extension == ".png";
}

void report(const ReportOptions& options) {
  const bool png = !options.curves.empty() && is_png(options.curves);
  const std::vector<std::filesystem::path> paths(options.paths.begin(), options.paths.end());
  RunReports reports = read_runs(paths);
  for (const UnreadRun& unread : reports.unread) {
    fmt::print(stderr, "rondo: left out: {}\n", unread.problem);
  }
  std::vector<RunReport>& runs = reports.runs;
  check(!runs.empty(), "none of these runs can be reported");
  if (!options.sort.empty()) {
    sort_runs(runs, options.sort);
  }
  if (options.format == "csv") {
    fmt::print("{}", report_csv(runs));
  } else if (options.format == "markdown") {
    fmt::print("{}", markdown_table(report_table(runs)));
  } else {
    fmt::print("{}", terminal_table(report_table(runs), table_width()));
  }
  if (options.curves.empty()) {
    return;
  }
  LinePlot plot = dev_curves(runs, options.x);
  plot.log_x = options.log_x;
  plot.title = options.title.empty() ? plot.title : options.title;
  const std::string svg = draw_line_plot(plot);
  write_file_atomically(options.curves, png ? png_of(svg) : svg);
}

}  // namespace

void add_report_command(CLI::App& app) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* command =
      app.add_subcommand("report", "Compare training runs in a table, and their curves");
  command
      ->add_option("runs", options->paths,
                   "Run folders, or folders that hold some, as runs/ or a sweep's")
      ->required();
  command->add_option("--format", options->format, "table, markdown or csv")
      ->check(CLI::IsMember({"table", "markdown", "csv"}))
      ->capture_default_str();
  command->add_option("--sort", options->sort, "Order the runs; lowest first, speed highest first")
      ->check(CLI::IsMember({"name", "test", "dev", "parameters", "tokens", "hours", "speed"}));
  command
      ->add_option("--curves", options->curves,
                   "Also draw the evaluations on dev to this file, SVG or PNG")
      ->type_name("FILE");
  command->add_option("--x", options->x, "What the curves stand over: tokens, hours or steps")
      ->check(CLI::IsMember({"tokens", "hours", "steps"}))
      ->capture_default_str();
  command->add_flag("--log-x", options->log_x, "A logarithmic axis for that");
  command->add_option("--title", options->title, "What stands above the curves");
  command->footer(R"(Examples:
  rondo report runs
  rondo report runs/quickstart_lr --sort test --curves curves.svg
  rondo report runs/a runs/b --format markdown
  rondo report runs --curves curves.png --x hours --log-x --title "Enwik8, 42M"
hours: of training and evaluation. dev: of the best checkpoint on all of dev, or the best evaluation
on the way while there is none. A run that is going on is shown as running, with its step.
On a narrow terminal, columns go in this order: published cost, tokens/s, tokens, hours, parameters,
what was published for dev, for test, dev; then names are shortened. Markdown and CSV have everything.
PNG needs the program rsvg-convert (Debian and Ubuntu: librsvg2-bin).)");
  command->callback([options] { report(*options); });
}

}  // namespace rondo
