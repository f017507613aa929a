#include "models/recurrent_language_model.h"

#include <algorithm>

#include "ops/concat.h"

namespace rondo {
namespace {

std::vector<Variable> constants(const std::vector<Tensor>& tensors) {
  std::vector<Variable> variables;
  variables.reserve(tensors.size());
  for (const Tensor& tensor : tensors) {
    variables.push_back(tensor.defined() ? Variable(tensor) : Variable());
  }
  return variables;
}

std::vector<Tensor> values(const std::vector<Variable>& variables) {
  std::vector<Tensor> tensors;
  tensors.reserve(variables.size());
  for (const Variable& variable : variables) {
    tensors.push_back(variable.value());
  }
  return tensors;
}

// The last `length` positions of [memory ; segment].
Tensor remember(const Tensor& memory, const Tensor& segment, std::int64_t length) {
  const std::int64_t steps = segment.size(0);
  if (steps >= length || !memory.defined()) {
    const std::int64_t kept = std::min(steps, length);
    return segment.narrow(steps - kept, kept);
  }
  const std::int64_t kept = std::min(memory.size(0), length - steps);
  const NoGradGuard no_grad;
  return concat({Variable(memory.narrow(memory.size(0) - kept, kept)), Variable(segment)}, 0)
      .value();
}

}  // namespace

RecurrentLanguageModel::RecurrentLanguageModel(std::unique_ptr<RecurrentStack> stack,
                                               std::unique_ptr<VocabularyLayers> vocabulary,
                                               double dropout)
    : stack_(std::move(stack)), vocabulary_(std::move(vocabulary)), dropout_(dropout) {}

Variable RecurrentLanguageModel::hidden(const Tensor& ids, LanguageModelState& state,
                                        const LanguageModelContext& context) const {
  check(ids.defined() && ids.shape().rank() == 2, "[LanguageModel] ids must have shape (T, B)");
  const auto layers = static_cast<std::size_t>(stack_->num_layers());
  for (const std::size_t found :
       {stack_->carries_c() ? state.c.size() : layers, std::max(state.memory.size(), layers)}) {
    check(state.at_start() || found == layers,
          "[LanguageModel] the state is of a model with {} layers, this one has {}", found, layers);
  }
  if (!state.memory.empty()) {
    state.memory.resize(layers);
  }
  StackInputs inputs;
  inputs.x =
      dropout_in_training(vocabulary_->embed(ids, context.forward), dropout_, context.forward);
  // Activations have a type of their own on a GPU. A state may come from a run of another type.
  for (Tensor& memory : state.memory) {
    memory = memory.defined() ? memory.to(inputs.x.dtype()) : memory;
  }
  inputs.c0 = constants(state.c);
  inputs.h0 = constants(state.h);
  inputs.memory = constants(state.memory);
  inputs.mask.window = context.window;
  const StackOutputs out = stack_->forward(inputs, context.forward);

  state.memory.resize(out.inputs.size());
  for (std::size_t i = 0; i < out.inputs.size(); ++i) {
    if (stack_->attends(static_cast<std::int64_t>(i)) && out.inputs[i].defined() &&
        context.memory_length > 0) {
      state.memory[i] = remember(state.memory[i], out.inputs[i].value(), context.memory_length);
    } else {
      state.memory[i] = Tensor();
    }
  }
  state.c = values(out.c);
  state.h = values(out.h_last);
  return dropout_in_training(out.h, dropout_, context.forward);
}

Variable RecurrentLanguageModel::loss(const Tensor& ids, const Tensor& targets,
                                      LanguageModelState& state,
                                      const LanguageModelContext& context) const {
  return vocabulary_->loss(hidden(ids, state, context), targets, context.forward);
}

Tensor RecurrentLanguageModel::loss_sum(const Tensor& ids, const Tensor& targets,
                                        LanguageModelState& state,
                                        const LanguageModelContext& context) const {
  const NoGradGuard no_grad;
  return vocabulary_->loss_sum(hidden(ids, state, context).value(), targets, context.forward);
}

Variable RecurrentLanguageModel::logits(const Tensor& ids, LanguageModelState& state,
                                        const LanguageModelContext& context) const {
  return vocabulary_->scores(hidden(ids, state, context), context.forward);
}

Parameters RecurrentLanguageModel::parameters() const {
  Parameters all = vocabulary_->embedding_parameters();
  append(all, "rnn", stack_->parameters());
  const Parameters output = vocabulary_->output_parameters();
  all.insert(all.end(), output.begin(), output.end());
  return all;
}

}  // namespace rondo
