// Training of a language model: data, steps, evaluation, checkpoints and metrics of one run.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/file.h"
#include "data/corpus.h"
#include "trainers/checkpoint.h"
#include "trainers/config.h"
#include "trainers/evaluation.h"
#include "trainers/lm_stepper.h"
#include "trainers/metric.h"
#include "trainers/model_file.h"

namespace rondo {

// One optimizer step.
struct StepReport {
  std::int64_t step = 0;  // steps so far, this one included
  double epoch = 0.0;     // passes over train
  double nats_per_token = 0.0;
  double lr = 0.0;
  double grad_norm = 0.0;          // before clipping
  std::int64_t tokens = 0;         // predictions trained on so far
  double tokens_per_second = 0.0;  // lately
  double seconds_left = 0.0;
  // With f16: the factor of the loss in the steps to come, and the steps that were left out because
  // it was too large. 1 and 0 otherwise.
  double loss_scale = 1.0;
  std::int64_t skipped_steps = 0;
};

struct EvaluationReport {
  Split split = Split::dev;
  std::int64_t step = 0;
  EvaluationResult result;
  std::int64_t train_tokens = 0;  // predictions trained on before
  double seconds = 0.0;           // of training and evaluation before
  bool best = false;              // the lowest on dev so far; its checkpoint is saved
};

struct TrainingSummary {
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
  std::int64_t parameters = 0;
  double seconds = 0.0;  // of training and evaluation, over all sessions of the run
  bool stopped = false;  // because it was asked to, before the last step
  std::optional<std::int64_t> best_step;
  std::optional<double> best_dev_nats;  // per token, of the evaluations on the way
  std::optional<EvaluationResult> dev;  // of the best checkpoint, on the whole split
  std::optional<EvaluationResult> test;
};

// Hears what happens, to show it. All calls come from the thread that trains.
class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;
  virtual void on_start(std::int64_t /*step*/) {}
  // On the CPU every step; on a GPU, which goes ahead of what is read from it, the steps that are
  // read: every logging.every-th, the first and last, and those before an evaluation or a save.
  virtual void on_step(const StepReport& /*report*/) {}
  virtual void on_evaluation(const EvaluationReport& /*report*/) {}
  virtual void on_saved(std::int64_t /*step*/, const std::filesystem::path& /*folder*/) {}
};

class LmTrainer {
 public:
  // Opens the data, builds the model and, when `resume`, continues from the run's last checkpoint
  // (from the start if there is none). Without `resume`, a folder that already holds checkpoints is
  // an Error: nothing saved is overwritten. Throws Error, too, for a config that does not hold
  // (trainers/config_validation.h), for data too short for it, and for a checkpoint of another
  // model, corpus, batch_size or unroll. The folder is this trainer's as long as it lives: throws
  // RunIsBusy (trainers/run_lock.h) if it is another's. From then on this thread takes denormal
  // numbers as 0 (core/parallel.h).
  LmTrainer(const Config& config, bool resume);
  ~LmTrainer();

  // Trains until training.steps, or until `stop_requested` says true between two steps: then the
  // state is saved so that a resumed run goes on as if it had never stopped. Throws Error when the
  // loss, the gradient or the weights are no longer finite; the checkpoints stay.
  TrainingSummary run(TrainingObserver& observer, const std::function<bool()>& stop_requested);

  const Corpus& corpus() const { return corpus_; }
  Metric metric() const { return metric_of(corpus_.vocabulary().unit()); }
  const LanguageModel& model() const { return stepper_.model(); }
  const Config& config() const { return config_; }
  std::int64_t step() const { return progress_.step; }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  // What a checkpoint's state.json holds beside what the stepper knows.
  struct Progress {
    std::int64_t step = 0;
    std::int64_t tokens = 0;
    double seconds = 0.0;
    std::optional<std::int64_t> best_step;
    double best_nats = 0.0;
  };

  void resume_from(const LoadedCheckpoint& checkpoint);
  // One optimizer step. On a GPU it has only been asked for.
  void take_step();
  // Whether it is the turn, after the last step, of what is done every so many steps; 0: never.
  // After the last step of all, it is.
  bool due(std::int64_t every) const;
  // Whether the step just taken must be read.
  bool read_due() const;
  // What is known of the last step. Throws the Error of a run astray if it, or one before it, had
  // to be the last: then the weights are those before that step.
  StepReport read_step();
  TrainingSummary train(TrainingObserver& observer, const std::function<bool()>& stop_requested);
  EvaluationReport evaluate_dev();
  void save(bool best, TrainingObserver& observer);
  // False if that was stopped.
  bool evaluate_best(TrainingSummary& summary, TrainingObserver& observer,
                     const std::function<bool()>& stop_requested);
  // Throws the Error of a run whose numbers are no longer finite.
  [[noreturn]] void stop_astray(std::int64_t step, const std::string& what) const;
  // What a run that ends with an Error has left behind.
  std::string saved_so_far() const;

  Config config_;
  std::filesystem::path folder_;
  std::optional<FileLock> lock_;  // of the folder
  Corpus corpus_;
  LmStepper stepper_;
  CheckpointFolder checkpoints_;
  Progress progress_;
  std::int64_t first_step_ = 0;  // of this session: where it began
  double last_lr_ = 0.0;
  StepGradient last_gradient_;
};

}  // namespace rondo
