#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <map>

#include "tools/commands.h"
#include "tools/format.h"
#include "tools/progress.h"
#include "tools/report.h"
#include "tools/stop_signals.h"
#include "trainers/lm_trainer.h"
#include "trainers/run_lock.h"
#include "trainers/sweep.h"

namespace rondo {
namespace {

struct SweepOptions {
  std::string file;
  std::string folder;
  std::vector<std::string> overrides;
  bool dry_run = false;
};

// Shows the run that goes on as one line, without its evaluations: the table at the end has them.
class SweepObserver final : public TrainingObserver {
 public:
  SweepObserver(ProgressDisplay& display, const LmTrainer& trainer)
      : display_(display),
        total_steps_(trainer.config().training.steps),
        metric_(trainer.metric()) {}

  void on_step(const StepReport& r) override {
    display_.update({r.step, total_steps_, r.epoch, format_result(metric_, r.nats_per_token),
                     r.tokens_per_second, r.lr, r.grad_norm, r.seconds_left});
  }

 private:
  ProgressDisplay& display_;
  std::int64_t total_steps_;
  Metric metric_;
};

// The size of models, for corpora that may not be there yet.
class ParameterCounter {
 public:
  std::int64_t count_of(const Config& config) {
    Generator generator(0);
    Initializer init(generator, Device::meta());
    return count(build_language_model(config.model, vocabulary_of(config), init)->parameters());
  }

  // Corpora that could not be opened, with the reason.
  const std::map<std::string, std::string>& missing() const { return missing_; }

 private:
  std::int64_t vocabulary_of(const Config& config) {
    constexpr std::int64_t kEnwik8 = 205;
    const std::string& corpus = config.data.corpus;
    try {
      if (!sizes_.contains(corpus) && !missing_.contains(corpus)) {
        sizes_[corpus] = Corpus::open(corpus).vocabulary().size();
      }
    } catch (const Error& problem) {
      missing_[corpus] = problem.what();
    }
    if (const auto size = sizes_.find(corpus); size != sizes_.end()) {
      return size->second;
    }
    return config.published.vocabulary > 0 ? config.published.vocabulary : kEnwik8;
  }

  std::map<std::string, std::int64_t> sizes_;
  std::map<std::string, std::string> missing_;
};

std::string_view text_of(SweepRunState state) {
  switch (state) {
    case SweepRunState::fresh:
      return "to do";
    case SweepRunState::running:
      return "running";
    case SweepRunState::interrupted:
      return "to be resumed";
    case SweepRunState::finished:
      return "finished";
    case SweepRunState::diverged:
      return "diverged";
  }
  return "";
}

std::string settings_text(const std::vector<SettingOverride>& settings) {
  std::vector<std::string> texts;
  for (const SettingOverride& setting : settings) {
    texts.push_back(fmt::format("{}={}", setting.key, setting.value));
  }
  return fmt::format("{}", fmt::join(texts, " "));
}

// What the sweep sets alike in all its runs.
std::vector<SettingOverride> common_settings(const Sweep& sweep) {
  std::vector<SettingOverride> common = sweep.runs.front().settings;
  for (const SweepRun& run : sweep.runs) {
    std::erase_if(common, [&run](const SettingOverride& setting) {
      return std::find(run.settings.begin(), run.settings.end(), setting) == run.settings.end();
    });
  }
  return common;
}

void print_plan(const Sweep& sweep, const std::vector<SweepRunState>& states) {
  const std::vector<SettingOverride> common = common_settings(sweep);
  fmt::print("{}: {} runs in {}\n{}{}\n", sweep.name, sweep.runs.size(), sweep.folder.string(),
             settings_text(common), common.empty() ? "" : "\n");
  std::vector<TableColumn> table = {{"run", true, 0, {}},
                                    {"parameters", false, 0, {}},
                                    {"state", true, 0, {}},
                                    {"settings", true, 1, {}}};
  ParameterCounter counter;
  for (std::size_t i = 0; i < sweep.runs.size(); ++i) {
    const SweepRun& run = sweep.runs[i];
    table[0].cells.push_back(run.name);
    table[1].cells.push_back(format_count(static_cast<double>(counter.count_of(run.config))));
    table[2].cells.emplace_back(text_of(states[i]));
    std::vector<SettingOverride> own = run.settings;
    std::erase_if(own, [&common](const SettingOverride& setting) {
      return std::find(common.begin(), common.end(), setting) != common.end();
    });
    table[3].cells.push_back(settings_text(own));
  }
  fmt::print("{}", terminal_table(table, std::numeric_limits<std::size_t>::max()));
  for (const auto& [corpus, problem] : counter.missing()) {
    fmt::print(
        "note: parameters are those with the vocabulary published for {}, which is not "
        "there: {}\n",
        corpus, problem);
  }
}

// Trains one run to its end, or until a signal.
void train(const SweepRun& run, ProgressDisplay& display, const StopSignals& signals) {
  LmTrainer trainer(run.config, /*resume=*/true);
  SweepObserver observer(display, trainer);
  const TrainingSummary summary = trainer.run(observer, [&signals] { return signals.requested(); });
  const RunReport report = read_run(run.config.run.folder);
  std::string line = summary.stopped
                         ? fmt::format("stopped at step {}; everything is saved", summary.steps)
                         : fmt::format("done in {}", format_duration(summary.seconds));
  for (const auto& [split, nats] : {std::pair{"dev", report.best_dev}, {"test", report.test}}) {
    if (std::isfinite(nats)) {
      line += fmt::format(", {} {:.3f} {}", split, report.figure(nats), report.unit());
    }
  }
  display.print_event(line);
}

void print_report(const Sweep& sweep) {
  std::vector<RunReport> reports;
  for (const SweepRun& run : sweep.runs) {
    try {
      reports.push_back(read_run(run.config.run.folder));
      reports.back().name = run.name;
    } catch (const Error&) {
      continue;  // it has not begun, or has failed before the first step, which was said
    }
  }
  if (!reports.empty()) {
    fmt::print("\n{}", terminal_table(report_table(reports), table_width()));
  }
}

void run_sweep(const SweepOptions& options) {
  const Sweep sweep = load_sweep(options.file, options.folder, options.overrides);
  std::vector<SweepRunState> states;
  for (const SweepRun& run : sweep.runs) {  // of all: what is wrong is found before any is trained
    states.push_back(state_of(run));
  }
  if (options.dry_run) {
    print_plan(sweep, states);
    return;
  }
  fmt::print("{}: {} runs in {}\n", sweep.name, sweep.runs.size(), sweep.folder.string());
  std::fflush(stdout);
  std::vector<std::string> failed;
  std::vector<std::string> busy;
  bool stopped = false;
  int signal = 0;
  {
    const StopSignals signals;
    const Terminal terminal = detect_terminal(1);
    for (std::size_t i = 0; i < sweep.runs.size() && !stopped; ++i) {
      const SweepRun& run = sweep.runs[i];
      // Elsewhere than on a terminal, a line at every quarter shows well enough that it goes on.
      ProgressDisplay display(std::cout, terminal, {(run.config.training.steps + 3) / 4});
      const std::string head = fmt::format("[{}/{}] {}", i + 1, sweep.runs.size(), run.name);
      try {
        // Asked anew: the same sweep may be at work elsewhere.
        const SweepRunState state = state_of(run);
        if (state == SweepRunState::finished) {
          display.print_event(head + ": finished before");
        } else if (state == SweepRunState::running) {
          display.print_event(head + ": left to the process that trains it");
          busy.push_back(run.name);
        } else if (state == SweepRunState::diverged) {
          display.print_event(head + ": diverged before; remove " + run.config.run.folder +
                              " to try again");
          failed.push_back(run.name);
        } else {
          display.print_event(head + (state == SweepRunState::interrupted ? ", resumed" : ""));
          train(run, display, signals);
        }
      } catch (const RunIsBusy&) {
        display.print_event("left to the process that trains it");
        busy.push_back(run.name);
      } catch (const Error& problem) {
        display.print_event(fmt::format("failed: {}", problem.what()));
        failed.push_back(run.name);
      }
      stopped = signals.requested();
      signal = signals.signal();
    }
  }
  print_report(sweep);
  if (stopped) {
    fmt::print("\nStopped; the same command goes on.\n");
    end_by(signal);
  } else if (!busy.empty()) {
    fmt::print("\nOther processes still train {}; if one is stopped, the same command goes on.\n",
               fmt::join(busy, ", "));
  }
  check(failed.empty(), "{} of {} runs failed: {}", failed.size(), sweep.runs.size(),
        fmt::join(failed, ", "));
}

}  // namespace

void add_sweep_command(CLI::App& app) {
  auto options = std::make_shared<SweepOptions>();
  CLI::App* command = app.add_subcommand("sweep", "Train many runs that differ in a few settings");
  command->add_option("file", options->file, "YAML sweep, see configs/sweeps/")->required();
  command->add_option("--folder", options->folder,
                      "Where the runs are kept; runs/<name of the sweep> if not given");
  command
      ->add_option("--set", options->overrides,
                   "Change a setting of all runs: section.key=value, in YAML; may be given often")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_flag("--dry-run", options->dry_run,
                    "Only list the runs, with their parameters and settings");
  command->footer(R"(Examples:
  rondo sweep configs/sweeps/quickstart_lr.yaml --dry-run
  rondo sweep configs/sweeps/quickstart_lr.yaml
  rondo report runs/quickstart_lr --sort test --curves curves.svg
A sweep names the config that runs start from, and what they differ in:
  config: ../quickstart.yaml
  set: {training.steps: 500}           # for all runs
  grid:                                # every combination
    optimizer.lr: [1e-3, 4e-3]
    model.attention_layers: [[2], [4], [2, 4]]
  runs:                                # or named ones, each with its own config and set
    - {name: lstm, config: ../enwik8_lstm.yaml}
The same command goes on where it was stopped: finished runs are left as they are, interrupted ones
resumed. Given again while it is at work, it takes the runs that nobody trains yet. A run that fails
does not stop the others; the exit status then is 1.)");
  command->callback([options] { run_sweep(*options); });
}

}  // namespace rondo
