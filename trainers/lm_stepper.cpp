#include "trainers/lm_stepper.h"

#include "ops/elementwise.h"

namespace rondo {
namespace {

StreamBatcher train_batches(const Config& config, const Corpus& corpus) {
  StreamOptions options;
  options.batch_size = config.training.batch_size;
  options.unroll = config.training.unroll;
  try {
    return {corpus.split(Split::train), options};
  } catch (const Error& problem) {
    fail("{} of the corpus {}, cut by training.batch_size and training.unroll: {}",
         name(Split::train), config.data.corpus, problem.what());
  }
}

std::unique_ptr<LanguageModel> build(const Config& config, const Corpus& corpus, Device device,
                                     Generator& generator) {
  Initializer init(generator, device);
  return build_language_model(config.model, corpus.vocabulary().size(), init);
}

}  // namespace

LmStepper::LmStepper(const Config& config, const Corpus& corpus)
    : config_(config.training),
      device_(Device::parse(config.run.device)),
      corpus_(corpus),
      batches_(train_batches(config, corpus_)),
      generator_(config.run.seed),
      model_(build(config, corpus_, device_, generator_)),
      feed_(feed_segments(batches_, model_->reads_ids_on_cpu() ? Device::cpu() : device_)),
      parameters_(model_->parameters()),
      optimizer_(make_optimizer(config.optimizer, parameters_)) {
  if (config_.precision == Precision::f16) {
    StepState start;
    start.loss_scale = config_.loss_scale;
    optimizer_->set_progress(start);
  }
}

StepGradient LmStepper::compute_gradient() {
  LanguageModelContext context;
  context.forward = {true, &generator_, config_.precision};
  context.memory_length = config_.unroll;
  const auto pieces = static_cast<double>(config_.accumulation_steps);
  const Tensor loss_gradient = optimizer_->loss_gradient(1.0 / pieces);
  StepGradient gradient;
  gradient.loss = Tensor::zeros({1}, DType::f64, device_);
  zero_grads(parameters_);
  for (std::int64_t piece = 0; piece < config_.accumulation_steps; ++piece) {
    if (position_.segment == batches_.segments()) {
      position_.segment = 0;
      ++position_.epoch;
      state_ = {};
    }
    const Segment segment = feed_->segment(position_.segment++);
    const Variable loss = model_->loss(segment.inputs, segment.targets, state_, context);
    backward(loss, loss_gradient);
    gradient.loss.add_(scale(Variable(loss.value().to(DType::f64)), 1.0 / pieces).value());
    gradient.tokens += segment.targets.numel();
  }
  gradient.norm = optimizer_->grad_norm();
  return gradient;
}

void LmStepper::apply(double lr, const StepGradient& gradient) {
  optimizer_->checked_step(lr, {gradient.loss, gradient.norm, config_.clip_grad_norm,
                                config_.precision == Precision::f16});
}

double LmStepper::epochs() const {
  return static_cast<double>(position_.epoch) +
         static_cast<double>(position_.segment) / static_cast<double>(batches_.segments());
}

void LmStepper::restore(LanguageModelState state, const Generator& generator,
                        const DataPosition& position) {
  // The recurrent state is f32 with every precision; what attention remembers are activations.
  for (Tensor& c : state.c) {
    c = c.to(DType::f32).to(device_);
  }
  for (Tensor& h : state.h) {
    h = h.to(DType::f32).to(device_);
  }
  for (Tensor& memory : state.memory) {
    if (memory.defined()) {
      memory = memory.to(activation_type(config_.precision, device_)).to(device_);
    }
  }
  state_ = std::move(state);
  generator_ = generator;
  position_ = position;
}

}  // namespace rondo
