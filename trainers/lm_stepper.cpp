#include "trainers/lm_stepper.h"

#include "ops/cross_entropy.h"
#include "ops/elementwise.h"

namespace rondo {
namespace {

StreamBatcher train_batches(const Config& config, const ByteCorpus& corpus) {
  StreamOptions options;
  options.batch_size = config.training.batch_size;
  options.unroll = config.training.unroll;
  try {
    return {corpus.split(Split::train), corpus.vocabulary(), options};
  } catch (const Error& problem) {
    fail("{} of the corpus {}, cut by training.batch_size and training.unroll: {}",
         name(Split::train), config.data.corpus, problem.what());
  }
}

std::unique_ptr<LanguageModel> build(const Config& config, const ByteCorpus& corpus,
                                     Generator& generator) {
  const Device device = Device::parse(config.run.device);
  require_available(device);
  Initializer init(generator, device);
  return build_language_model(config.model, corpus.vocabulary().size(), init);
}

}  // namespace

LmStepper::LmStepper(const Config& config, const ByteCorpus& corpus)
    : config_(config.training),
      corpus_(corpus),
      batches_(train_batches(config, corpus_)),
      generator_(config.run.seed),
      model_(build(config, corpus_, generator_)),
      parameters_(model_->parameters()),
      optimizer_(make_optimizer(config.optimizer, parameters_)) {}

StepGradient LmStepper::compute_gradient() {
  LanguageModelContext context;
  context.forward = {true, &generator_, config_.precision};
  context.memory_length = config_.unroll;
  const std::int64_t pieces = config_.accumulation_steps;
  StepGradient gradient;
  zero_grads(parameters_);
  for (std::int64_t piece = 0; piece < pieces; ++piece) {
    if (position_.segment == batches_.segments()) {
      position_.segment = 0;
      ++position_.epoch;
      state_ = {};
    }
    const Segment segment = batches_.segment(position_.segment++);
    const Variable loss =
        cross_entropy(model_->logits(segment.inputs, state_, context), segment.targets);
    backward(pieces == 1 ? loss : scale(loss, 1.0 / static_cast<double>(pieces)));
    gradient.nats_per_token += loss.value().item() / static_cast<double>(pieces);
    gradient.tokens += segment.targets.numel();
  }
  gradient.norm = grad_norm(parameters_);
  return gradient;
}

void LmStepper::apply(double lr, double norm) {
  optimizer_->step(lr, clip_factor(norm, config_.clip_grad_norm));
}

double LmStepper::epochs() const {
  return static_cast<double>(position_.epoch) +
         static_cast<double>(position_.segment) / static_cast<double>(batches_.segments());
}

void LmStepper::restore(LanguageModelState state, const Generator& generator,
                        const DataPosition& position) {
  state_ = std::move(state);
  generator_ = generator;
  position_ = position;
}

}  // namespace rondo
