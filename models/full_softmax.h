// One row for each id, and a score for each: the softmax of small vocabularies.
#pragma once

#include "models/vocabulary_layers.h"

namespace rondo {

// x = E[id] and scores = W h + b. Both start uniform in +-`range`, b at zero. Tied (Press and Wolf
// 2017; Inan et al. 2017), W is E, which needs states of the size of rows.
class FullSoftmax final : public VocabularyLayers {
 public:
  FullSoftmax(std::int64_t vocabulary_size, std::int64_t row_size, std::int64_t state_size,
              double range, bool tied, Initializer& init);

  Variable embed(const Tensor& ids, const ForwardContext& context) const override;
  Variable loss(const Variable& h, const Tensor& targets,
                const ForwardContext& context) const override;
  Tensor loss_sum(const Tensor& h, const Tensor& targets,
                  const ForwardContext& context) const override;
  Variable scores(const Variable& h, const ForwardContext& context) const override;
  std::unique_ptr<VocabularyStepper> stepper(std::int64_t streams) const override;
  std::int64_t vocabulary_size() const override { return embedding_.size(0); }
  Parameters embedding_parameters() const override { return {{"embedding.weight", embedding_}}; }
  Parameters output_parameters() const override;

 private:
  bool tied_;
  Variable embedding_;      // (V, d)
  Variable output_weight_;  // (V, D): embedding_ if tied
  Variable output_bias_;    // (V)
};

}  // namespace rondo
