// The language model of the paper's section 4: embedding, SRU or SRU++ stack, softmax; and the same
// on other layers.
#pragma once

#include "models/language_model.h"
#include "models/recurrent_stack.h"
#include "models/vocabulary_layers.h"

namespace rondo {

// ids -> embedding -> dropout -> stack -> dropout -> softmax, both ends from VocabularyLayers.
class RecurrentLanguageModel final : public LanguageModel {
 public:
  RecurrentLanguageModel(std::unique_ptr<RecurrentStack> stack,
                         std::unique_ptr<VocabularyLayers> vocabulary, double dropout);

  Variable loss(const Tensor& ids, const Tensor& targets, LanguageModelState& state,
                const LanguageModelContext& context) const override;
  Tensor loss_sum(const Tensor& ids, const Tensor& targets, LanguageModelState& state,
                  const LanguageModelContext& context) const override;
  std::int64_t evaluation_segment(std::int64_t window) const override {
    return stack_->evaluation_segment(window);
  }
  bool reads_ids_on_cpu() const override { return vocabulary_->reads_ids_on_cpu(); }
  Variable logits(const Tensor& ids, LanguageModelState& state,
                  const LanguageModelContext& context) const override;
  std::unique_ptr<LanguageModelStream> start_stream(std::int64_t streams,
                                                    std::int64_t window) const override;
  Parameters parameters() const override;
  std::int64_t vocabulary_size() const override { return vocabulary_->vocabulary_size(); }

 private:
  class Stream;  // models/recurrent_language_model_stream.cpp

  // h (T, B, D) of the last layer, after dropout. Moves `state` on past `ids`.
  Variable hidden(const Tensor& ids, LanguageModelState& state,
                  const LanguageModelContext& context) const;

  std::unique_ptr<RecurrentStack> stack_;
  std::unique_ptr<VocabularyLayers> vocabulary_;
  double dropout_;
};

}  // namespace rondo
