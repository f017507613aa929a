#include "models/recurrent_language_model.h"

#include <algorithm>

#include "ops/cast.h"
#include "ops/concat.h"
#include "ops/embedding.h"
#include "ops/linear.h"

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

RecurrentLanguageModel::RecurrentLanguageModel(std::int64_t vocabulary_size,
                                               std::int64_t embedding_size, double embedding_range,
                                               double dropout,
                                               std::unique_ptr<RecurrentStack> stack,
                                               Initializer& init)
    : dropout_(dropout),
      embedding_(init.uniform({vocabulary_size, embedding_size}, embedding_range)),
      stack_(std::move(stack)),
      output_weight_(init.uniform({vocabulary_size, stack_->output_size()}, embedding_range)),
      output_bias_(init.constant({vocabulary_size}, 0.0)) {}

Variable RecurrentLanguageModel::logits(const Tensor& ids, LanguageModelState& state,
                                        const LanguageModelContext& context) const {
  check(ids.defined() && ids.shape().rank() == 2, "[LanguageModel] ids must have shape (T, B)");
  check(state.at_start() || static_cast<std::int64_t>(state.c.size()) == stack_->num_layers(),
        "[LanguageModel] the state is of a model with {} layers, this one has {}", state.c.size(),
        stack_->num_layers());
  // Activations have a type of their own on a GPU. A state may come from a run of another type.
  const DType type = activation_type(embedding_, context.forward);
  for (Tensor& memory : state.memory) {
    memory = memory.defined() ? memory.to(type) : memory;
  }
  StackInputs inputs;
  inputs.x = dropout_in_training(embedding(ids, embedding_, type), dropout_, context.forward);
  inputs.c0 = constants(state.c);
  inputs.h0 = constants(state.h);
  inputs.memory = constants(state.memory);
  inputs.mask.window = context.window;
  const StackOutputs out = stack_->forward(inputs, context.forward);

  state.memory.resize(out.inputs.size());
  for (std::size_t i = 0; i < out.inputs.size(); ++i) {
    if (stack_->attends(static_cast<std::int64_t>(i)) && context.memory_length > 0) {
      state.memory[i] = remember(state.memory[i], out.inputs[i].value(), context.memory_length);
    } else {
      state.memory[i] = Tensor();
    }
  }
  state.c = values(out.c);
  state.h = values(out.h_last);
  const Variable h = dropout_in_training(out.h, dropout_, context.forward);
  return linear(cast(h, output_weight_.dtype()), output_weight_, output_bias_,
                context.forward.precision);
}

Parameters RecurrentLanguageModel::parameters() const {
  Parameters all{{"embedding.weight", embedding_}};
  append(all, "rnn", stack_->parameters());
  all.push_back({"output.weight", output_weight_});
  all.push_back({"output.bias", output_bias_});
  return all;
}

}  // namespace rondo
