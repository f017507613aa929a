// The optimizer step of a byte language model, and all that it moves.
#pragma once

#include <memory>

#include "core/random.h"
#include "data/batcher.h"
#include "data/corpus.h"
#include "data/segment_feed.h"
#include "models/language_model.h"
#include "trainers/config.h"
#include "trainers/optimizer.h"

namespace rondo {

// Where training stands in its data.
struct DataPosition {
  std::int64_t epoch = 0;
  std::int64_t segment = 0;  // next segment of this epoch
};

// What the forward and backward passes of a step found. The tensors are f64 of shape {1}, where the
// model is: on a GPU, to read them (item()) waits for the step.
struct StepGradient {
  Tensor loss;              // mean, in nats per token
  Tensor norm;              // of the whole gradient, before clipping
  std::int64_t tokens = 0;  // predictions trained on
};

// Holds everything that decides the next step: weights, moments, carried state, the place in the
// data and the generator. It keeps no progress and saves nothing. On a GPU nothing here waits for
// it: the CPU asks for one step after the other.
class LmStepper {
 public:
  // Builds the model of `config` and its optimizer on run.device. Throws Error for a split `train`
  // that is too short for training.batch_size and training.unroll. `config` must have been
  // validated (trainers/config_validation.h).
  LmStepper(const Config& config, const Corpus& corpus);
  LmStepper(const LmStepper&) = delete;
  LmStepper& operator=(const LmStepper&) = delete;

  // Averages the gradient over the next training.accumulation_steps segments, and moves the state,
  // the generator and the place in the data past them. State and memory do not cross epochs.
  StepGradient compute_gradient();
  // Moves the weights by that gradient, clipped to training.clip_grad_norm. One that must not be
  // taken moves nothing: optimizer().progress() tells of it.
  void apply(double lr, const StepGradient& gradient);

  const LanguageModel& model() const { return *model_; }
  const Parameters& parameters() const { return parameters_; }
  const StreamBatcher& batches() const { return batches_; }
  Optimizer& optimizer() { return *optimizer_; }
  const Optimizer& optimizer() const { return *optimizer_; }
  const LanguageModelState& state() const { return state_; }
  const Generator& generator() const { return generator_; }
  const DataPosition& position() const { return position_; }
  // Passes over train, with the part of the present one.
  double epochs() const;

  // Goes on from where another stepper stood, on this device or another, with this precision or
  // another: its state becomes what this run's is. Its weights and moments are written to the
  // tensors of parameters() and optimizer().
  void restore(LanguageModelState state, const Generator& generator, const DataPosition& position);

 private:
  TrainingConfig config_;
  Device device_;
  Corpus corpus_;  // owns the tokens that batches_ reads
  StreamBatcher batches_;
  Generator generator_;  // initial weights, then dropout
  std::unique_ptr<LanguageModel> model_;
  std::unique_ptr<SegmentFeed> feed_;
  Parameters parameters_;
  std::unique_ptr<Optimizer> optimizer_;
  LanguageModelState state_;
  DataPosition position_;
};

}  // namespace rondo
