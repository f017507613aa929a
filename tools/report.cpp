#include "tools/report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "core/error.h"
#include "tools/format.h"
#include "trainers/config_fields.h"

namespace rondo {
namespace {

bool has_both_units(std::span<const RunReport> runs) {
  return std::any_of(runs.begin(), runs.end(), [&](const RunReport& run) {
    return run.in_perplexity != runs.front().in_perplexity;
  });
}

std::string hours_text(double seconds) {
  const double hours = seconds / 3600.0;
  return fmt::format("{:.{}f}", hours, hours < 1 ? 3 : hours < 100 ? 1 : 0);
}

std::string figure_text(const RunReport& run, double figure) {
  if (!std::isfinite(figure)) {
    return "";
  }
  return fmt::format("{:.{}f}", figure, run.in_perplexity ? 2 : 3);
}

double published(double figure) { return figure > 0.0 ? figure : std::nan(""); }

// Measured minus published.
double dev_difference(const RunReport& run) {
  return run.figure(run.best_dev) - published(run.config.published.dev);
}

double test_difference(const RunReport& run) {
  return run.figure(run.test) - published(run.config.published.test);
}

// A column that holds `cell` of every run.
TableColumn column(std::string heading, int goes, std::span<const RunReport> runs,
                   const std::function<std::string(const RunReport&)>& cell) {
  TableColumn result;
  result.heading = std::move(heading);
  result.goes = goes;
  for (const RunReport& run : runs) {
    result.cells.push_back(cell(run));
  }
  return result;
}

std::string raw(double value) { return std::isfinite(value) ? fmt::format("{}", value) : ""; }

// Seconds, minutes or hours, whichever suits a run of `seconds`.
struct TimeUnit {
  double seconds;
  std::string name;
};

TimeUnit time_unit(double seconds) {
  return seconds >= 2 * 3600.0 ? TimeUnit{3600.0, "hours"}
         : seconds >= 2 * 60.0 ? TimeUnit{60.0, "minutes"}
                               : TimeUnit{1.0, "seconds"};
}

}  // namespace

std::vector<TableColumn> report_table(std::span<const RunReport> runs) {
  const bool mixed = has_both_units(runs);
  const std::string unit = mixed || runs.empty() ? "" : fmt::format(" {}", runs.front().unit());
  const auto figure = [mixed](const RunReport& run, double value) {
    const std::string text = figure_text(run, value);
    return mixed && !text.empty() ? fmt::format("{} {}", text, run.unit()) : text;
  };
  const auto count = [](double value) { return value > 0 ? format_count(value) : ""; };
  std::vector<TableColumn> table;
  table.push_back(column("run", 0, runs, [](const RunReport& run) { return run.name; }));
  table.back().left = true;
  table.push_back(column("parameters", 5, runs, [&](const RunReport& run) {
    return count(static_cast<double>(run.parameters.value_or(0)));
  }));
  table.push_back(
      column("tokens", 3, runs, [&](const RunReport& run) { return count(run.tokens); }));
  table.push_back(
      column("hours", 4, runs, [](const RunReport& run) { return hours_text(run.seconds); }));
  table.push_back(column("tokens/s", 2, runs,
                         [&](const RunReport& run) { return count(run.tokens_per_second); }));
  const auto add_split = [&](std::string_view split, std::array<int, 3> goes, auto&& measured,
                             auto&& wanted, auto&& difference) {
    table.push_back(column(fmt::format("{}{}", split, unit), goes[0], runs,
                           [&](const RunReport& run) { return figure(run, measured(run)); }));
    table.push_back(column(fmt::format("{} published", split), goes[1], runs,
                           [&](const RunReport& run) { return figure(run, wanted(run)); }));
    table.push_back(column(fmt::format("{} diff", split), goes[2], runs, [&](const RunReport& run) {
      const std::string text = figure(run, std::abs(difference(run)));
      return text.empty() ? text : (difference(run) < 0 ? "-" : "+") + text;
    }));
  };
  add_split(
      "dev", {10, 6, 7}, [](const RunReport& run) { return run.figure(run.best_dev); },
      [](const RunReport& run) { return published(run.config.published.dev); }, dev_difference);
  add_split(
      "test", {0, 8, 9}, [](const RunReport& run) { return run.figure(run.test); },
      [](const RunReport& run) { return published(run.config.published.test); }, test_difference);
  table.push_back(column("published cost", 1, runs,
                         [](const RunReport& run) { return run.config.published.cost; }));
  table.back().left = true;
  table.push_back(
      column("status", 0, runs, [](const RunReport& run) { return run.status_text(); }));
  table.back().left = true;
  return table;
}

std::string report_csv(std::span<const RunReport> runs) {
  std::string text = csv_line({"run",
                               "folder",
                               "model",
                               "parameters",
                               "corpus",
                               "device",
                               "precision",
                               "unit",
                               "status",
                               "step",
                               "steps",
                               "tokens",
                               "seconds",
                               "tokens_per_second",
                               "dev",
                               "test",
                               "published_name",
                               "published_dev",
                               "published_test",
                               "dev_difference",
                               "test_difference",
                               "published_parameters",
                               "published_cost"});
  for (const RunReport& run : runs) {
    const Config& c = run.config;
    text += csv_line({run.name,
                      run.folder.string(),
                      std::string(type_name(c.model.type)),
                      run.parameters ? std::to_string(*run.parameters) : "",
                      c.data.corpus,
                      c.run.device,
                      std::string(name(c.training.precision)),
                      std::string(run.unit()),
                      std::string(name(run.status)),
                      std::to_string(run.step),
                      std::to_string(c.training.steps),
                      raw(run.tokens),
                      raw(run.seconds),
                      raw(run.tokens_per_second),
                      raw(run.figure(run.best_dev)),
                      raw(run.figure(run.test)),
                      c.published.name,
                      raw(published(c.published.dev)),
                      raw(published(c.published.test)),
                      raw(dev_difference(run)),
                      raw(test_difference(run)),
                      c.published.parameters > 0 ? std::to_string(c.published.parameters) : "",
                      c.published.cost});
  }
  return text;
}

void sort_runs(std::vector<RunReport>& runs, std::string_view key) {
  const auto number = [key](const RunReport& run) {
    const double value = key == "test"         ? run.figure(run.test)
                         : key == "dev"        ? run.figure(run.best_dev)
                         : key == "parameters" ? static_cast<double>(run.parameters.value_or(0))
                         : key == "tokens"     ? run.tokens
                         : key == "hours"      ? run.seconds
                                               : -run.tokens_per_second;
    return std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
  };
  std::stable_sort(runs.begin(), runs.end(), [&](const RunReport& a, const RunReport& b) {
    return key == "name" ? name_less(a.name, b.name) : number(a) < number(b);
  });
}

LinePlot dev_curves(std::span<const RunReport> runs, std::string_view x) {
  check(!runs.empty() && !has_both_units(runs),
        "curves of bits per character and of perplexity have no axis in common; report the runs on "
        "bytes and those on words or pieces apart");
  LinePlot plot;
  const bool perplexity = runs.front().in_perplexity;
  plot.title = perplexity ? "Perplexity on dev" : "Bits per character on dev";
  plot.y_label = perplexity ? "dev perplexity" : "dev bits per character";
  double longest = 0.0;
  for (const RunReport& run : runs) {
    longest = std::max(longest, run.seconds);
  }
  const TimeUnit unit = time_unit(longest);
  plot.x_label = x == "steps"   ? std::string("steps")
                 : x == "hours" ? fmt::format("{} of training", unit.name)
                                : std::string("tokens trained on");
  bool evaluated = false;
  for (const RunReport& run : runs) {
    PlotLine line{run.name, {}};
    for (const DevPoint& point : run.dev) {
      line.points.push_back({x == "steps"   ? static_cast<double>(point.step)
                             : x == "hours" ? point.seconds / unit.seconds
                                            : point.tokens,
                             run.figure(point.nats)});
    }
    evaluated = evaluated || !line.points.empty();
    plot.lines.push_back(std::move(line));
  }
  check(evaluated, "no run was evaluated on dev, so there are no curves to draw");
  return plot;
}

}  // namespace rondo
