#include <iostream>
#include <optional>

#include "core/log.h"
#include "core/parallel.h"
#include "models/generation.h"
#include "ops/linear.h"
#include "tools/commands.h"
#include "tools/format.h"
#include "tools/progress.h"
#include "tools/stop_signals.h"
#include "tools/text.h"
#include "trainers/config_yaml.h"
#include "trainers/lm_trainer.h"
#include "trainers/machine_limits.h"

namespace rondo {
namespace {

// Shows a run in the terminal.
class ConsoleObserver final : public TrainingObserver {
 public:
  ConsoleObserver(ProgressDisplay& display, const LmTrainer& trainer)
      : display_(display),
        total_steps_(trainer.config().training.steps),
        metric_(trainer.metric()) {}

  void on_start(std::int64_t step) override {
    if (step > 0) {
      display_.print_event(fmt::format("resumed at step {}", step));
    }
  }
  void on_step(const StepReport& r) override {
    if (loss_scale_ && *loss_scale_ != r.loss_scale) {
      display_.print_event(fmt::format("loss scale {} at step {}, {} steps left out so far",
                                       r.loss_scale, r.step, r.skipped_steps));
    }
    loss_scale_ = r.loss_scale;
    display_.update({r.step, total_steps_, r.epoch, format_result(metric_, r.nats_per_token),
                     r.tokens_per_second, r.lr, r.grad_norm, r.seconds_left});
  }
  void on_evaluation(const EvaluationReport& report) override {
    const EvaluationEvent event{std::string(name(report.split)), report.step,
                                format_result(metric_, report.result.nats_per_token), report.best,
                                report.best};
    if (event.saved) {
      to_be_saved_ = event;
    } else {
      display_.print_evaluation(event);
    }
  }
  void on_saved(std::int64_t /*step*/, const std::filesystem::path& /*folder*/) override {
    if (to_be_saved_) {
      display_.print_evaluation(*to_be_saved_);
      to_be_saved_.reset();
    }
  }

 private:
  ProgressDisplay& display_;
  std::int64_t total_steps_;
  Metric metric_;
  std::optional<EvaluationEvent> to_be_saved_;  // shown once that is true
  std::optional<double> loss_scale_;            // of the last step
};

void print_start(ProgressDisplay& display, const LmTrainer& trainer) {
  const Config& c = trainer.config();
  const Device device = Device::parse(c.run.device);
  const Corpus& corpus = trainer.corpus();
  const auto size = [&](Split split) {
    return format_count(static_cast<double>(corpus.split(split).size()));
  };
  display.print_summary(
      "Rondo training run",
      std::vector<std::pair<std::string, std::string>>{
          {"model", format_model(c.model)},
          {"parameters", format_count(static_cast<double>(count(trainer.model().parameters())))},
          {"corpus", fmt::format("{}: {} train, {} dev, {} test, {} distinct {}", corpus.name(),
                                 size(Split::train), size(Split::dev), size(Split::test),
                                 corpus.vocabulary().size(), name(corpus.vocabulary().unit()))},
          {"batch",
           fmt::format("{} streams of {} positions{}", c.training.batch_size, c.training.unroll,
                       c.training.accumulation_steps > 1
                           ? fmt::format(", {} accumulated", c.training.accumulation_steps)
                           : "")},
          {"device",
           device.is_cuda()
               ? fmt::format("{}, {}, {}, {}", device.str(), device_name(device),
                             matmul_backend(device), name(c.training.precision))
               : fmt::format("{}, {}, {}", device.str(), threads_text(), matmul_backend())},
          {"run folder", trainer.folder().string()}});
}

void print_end(ProgressDisplay& display, const LmTrainer& trainer, const TrainingSummary& s) {
  const auto result = [&](double nats) { return format_result(trainer.metric(), nats); };
  std::vector<std::pair<std::string, std::string>> rows{
      {"steps", std::to_string(s.steps)},
      {"trained on", fmt::format("{} {}", format_count(static_cast<double>(s.tokens)),
                                 name(trainer.corpus().vocabulary().unit()))},
      {"time", format_duration(s.seconds)},
  };
  if (s.best_step) {
    rows.emplace_back("best dev",
                      fmt::format("{} at step {}", result(*s.best_dev_nats), *s.best_step));
  }
  if (s.dev) {
    rows.emplace_back("dev, whole", result(s.dev->nats_per_token));
  }
  if (s.test) {
    rows.emplace_back("test", result(s.test->nats_per_token));
  }
  rows.emplace_back("checkpoints", (trainer.folder() / "checkpoints").string());
  rows.emplace_back("learning curve", (trainer.folder() / "learning_curve.svg").string());
  display.print_summary(s.stopped ? "Stopped; everything is saved" : "Done", rows);
}

void print_sample(const LmTrainer& trainer) {
  const SampleConfig& sample_config = trainer.config().sample;
  if (sample_config.length == 0) {
    return;
  }
  const LoadedModel best = load_model(load_checkpoint(trainer.folder()));
  GenerationOptions options;
  options.length = sample_config.length;
  options.sampling.temperature = sample_config.temperature;
  options.window = best.description.window;
  options.seed = trainer.config().run.seed;
  fmt::print("\nA sample at temperature {}:\n", sample_config.temperature);
  const Vocabulary& vocabulary = best.description.vocabulary;
  print_generated(*best.model, vocabulary, known_prompt(vocabulary, sample_config.prompt), options);
}

// Throws Error for a prompt that the corpus does not know: now, and not after the training.
void check_sample(const Config& config) {
  if (config.sample.length == 0) {
    return;
  }
  const Vocabulary vocabulary = Corpus::open(config.data.corpus).vocabulary();
  try {
    check(!vocabulary.encode(known_prompt(vocabulary, config.sample.prompt)).empty(),
          "nothing is left of it");
  } catch (const Error& problem) {
    fail("sample.prompt: {}; choose another, or set sample.length: 0", problem.what());
  }
}

struct TrainOptions {
  std::string config;
  std::vector<std::string> overrides;
  bool resume = false;
};

// What continues this run, to be pasted into a shell.
std::string resume_command(const TrainOptions& options) {
  std::string command = "rondo train " + shell_quoted(options.config);
  for (const std::string& setting : options.overrides) {
    command += " --set " + shell_quoted(setting);
  }
  return command + " --resume";
}

void train(const TrainOptions& options) {
  const Config config = load_config(options.config, options.overrides);
  check_sample(config);
  LmTrainer trainer(config, options.resume);
  ProgressDisplay display(std::cout, detect_terminal(1), {config.logging.every});
  print_start(display, trainer);

  ConsoleObserver observer(display, trainer);
  TrainingSummary summary;
  int signal = 0;
  {
    const StopSignals signals;
    summary = trainer.run(observer, [&signals] { return signals.requested(); });
    signal = signals.signal();
  }

  print_end(display, trainer, summary);
  if (summary.stopped) {
    fmt::print("\nGo on with: {}\n", resume_command(options));
    end_by(signal);
  }
  print_sample(trainer);
}

}  // namespace

void add_train_command(CLI::App& app) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = app.add_subcommand("train", "Train a language model from a config");
  command->add_option("config", options->config, "YAML config, see configs/")->required();
  command
      ->add_option("--set", options->overrides,
                   "Change a setting: section.key=value, in YAML; may be given often")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_flag("--resume", options->resume,
                    "Go on from the run's last checkpoint; from the start if there is none");
  command->footer(R"(Examples:
  rondo train configs/quickstart.yaml
  rondo train configs/quickstart.yaml --set training.steps=5000 --set run.folder=runs/longer
  rondo train configs/quickstart.yaml --resume

Ctrl-C (or SIGTERM, or a terminal that closes) finishes the step, saves, and ends the program as
that signal does; --resume then continues as if nothing had happened.
All settings: rondo settings)");
  command->callback([options] { train(*options); });
}

}  // namespace rondo
