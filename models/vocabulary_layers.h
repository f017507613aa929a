// Where a language model meets its vocabulary: rows that stand for ids, and the scores of the next.
#pragma once

#include <memory>

#include "models/config.h"
#include "models/module.h"

namespace rondo {

// The two ends of the model for a batch of texts that go on one id at a time. It runs where the
// weights are; ids come from the CPU and scores come back to it.
class VocabularyStepper {
 public:
  virtual ~VocabularyStepper() = default;
  // The rows x (B, d) of ids (B) i32; the next call overwrites them.
  virtual const Tensor& embed(const Tensor& ids) = 0;
  // The scores (B, V) after h (B, D), on the CPU; the next call overwrites them.
  virtual const Tensor& scores(const Tensor& h) = 0;
};

// V ids, rows of d for the layers, states of D from them. Dropout of x and h themselves is the
// model's.
class VocabularyLayers {
 public:
  virtual ~VocabularyLayers() = default;
  // x (T, B, d) for ids (T, B), of the context's type of activations.
  virtual Variable embed(const Tensor& ids, const ForwardContext& context) const = 0;
  // The mean over positions of the negative log likelihood of `targets` (T, B) after h (T, B, D),
  // in nats. Shape {1}, of the weights' type.
  virtual Variable loss(const Variable& h, const Tensor& targets,
                        const ForwardContext& context) const = 0;
  // The sum over positions, without a gradient. f64 of shape {1}, where h is.
  virtual Tensor loss_sum(const Tensor& h, const Tensor& targets,
                          const ForwardContext& context) const = 0;
  // Log-probabilities (T, B, V) of all ids, up to a constant in each row.
  virtual Variable scores(const Variable& h, const ForwardContext& context) const = 0;
  virtual std::unique_ptr<VocabularyStepper> stepper(std::int64_t streams) const = 0;

  virtual std::int64_t vocabulary_size() const = 0;
  virtual bool reads_ids_on_cpu() const { return false; }
  // Each parameter once: those that a model lists before its stack's, and those after them.
  virtual Parameters embedding_parameters() const = 0;
  virtual Parameters output_parameters() const = 0;
};

// The embedding and softmax that `config` describes, for `vocabulary_size` ids and a stack that
// gives states of `state_size`. Throws Error for cutoffs that do not fit the vocabulary.
std::unique_ptr<VocabularyLayers> build_vocabulary_layers(const ModelConfig& config,
                                                          std::int64_t vocabulary_size,
                                                          std::int64_t state_size,
                                                          Initializer& init);

}  // namespace rondo
