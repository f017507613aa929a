#include <fmt/ranges.h>

#include <iostream>
#include <map>

#include "tools/commands.h"
#include "tools/format.h"
#include "tools/progress.h"
#include "tools/report.h"
#include "tools/stop_signals.h"
#include "trainers/lm_trainer.h"
#include "trainers/sweep.h"

namespace rondo {
namespace {

struct SweepOptions {
  std::string file;
  std::string folder;
  std::vector<std::string> overrides;
  bool dry_run = false;
};

// Shows the run that goes on as one line, with the sweep's count before it.
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
    case SweepRunState::interrupted:
      return "to be resumed";
    case SweepRunState::finished:
      return "finished";
    case SweepRunState::diverged:
      return "diverged";
  }
  return "";
}

std::string settings_text(const SweepRun& run) {
  std::vector<std::string> texts;
  for (const SettingOverride& setting : run.settings) {
    texts.push_back(fmt::format("{}={}", setting.key, setting.value));
  }
  return fmt::format("{}", fmt::join(texts, " "));
}

void print_plan(const Sweep& sweep, const std::vector<SweepRunState>& states) {
  fmt::print("{}: {} runs in {}\n\n", sweep.name, sweep.runs.size(), sweep.folder.string());
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
    table[3].cells.push_back(settings_text(run));
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
  display.clear();
  if (summary.stopped) {
    display.print_event(fmt::format("stopped at step {}; everything is saved", summary.steps));
  }
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
  for (const SweepRun& run : sweep.runs) {
    states.push_back(state_of(run));
  }
  if (options.dry_run) {
    print_plan(sweep, states);
    return;
  }
  fmt::print("{}: {} runs in {}\n", sweep.name, sweep.runs.size(), sweep.folder.string());
  std::fflush(stdout);
  std::vector<std::string> failed;
  bool stopped = false;
  {
    const StopSignals signals;
    const Terminal terminal = detect_terminal(1);
    for (std::size_t i = 0; i < sweep.runs.size() && !stopped; ++i) {
      const SweepRun& run = sweep.runs[i];
      // Elsewhere than on a terminal, the first and the last step are enough.
      ProgressDisplay display(std::cout, terminal, {run.config.training.steps});
      const std::string head = fmt::format("[{}/{}] {}", i + 1, sweep.runs.size(), run.name);
      if (states[i] == SweepRunState::finished) {
        display.print_event(head + ": finished before");
        continue;
      }
      if (states[i] == SweepRunState::diverged) {
        display.print_event(head + ": diverged before; remove " + run.config.run.folder +
                            " to try again");
        failed.push_back(run.name);
        continue;
      }
      display.print_event(head + (states[i] == SweepRunState::interrupted ? ", resumed" : ""));
      try {
        train(run, display, signals);
      } catch (const Error& problem) {
        display.print_event(fmt::format("failed: {}", problem.what()));
        failed.push_back(run.name);
      }
      stopped = signals.requested();
    }
  }
  print_report(sweep);
  if (stopped) {
    fmt::print("\nStopped; the same command goes on.\n");
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
resumed. A run that fails does not stop the others; the exit status then is 1.)");
  command->callback([options] { run_sweep(*options); });
}

}  // namespace rondo
