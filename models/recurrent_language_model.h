// The byte language model of the paper's section 4: embedding, SRU or SRU++ stack, softmax; and the
// same on other recurrent layers.
#pragma once

#include "models/language_model.h"
#include "models/recurrent_stack.h"

namespace rondo {

// ids -> embedding -> dropout -> stack -> dropout -> W h + b. Embedding and output are not tied;
// both start uniform in +-`embedding_range`, the output bias at zero.
class RecurrentLanguageModel final : public LanguageModel {
 public:
  RecurrentLanguageModel(std::int64_t vocabulary_size, std::int64_t embedding_size,
                         double embedding_range, double dropout,
                         std::unique_ptr<RecurrentStack> stack, Initializer& init);

  Variable logits(const Tensor& ids, LanguageModelState& state,
                  const LanguageModelContext& context) const override;
  std::unique_ptr<LanguageModelStream> start_stream(std::int64_t streams,
                                                    std::int64_t window) const override;
  Parameters parameters() const override;
  std::int64_t vocabulary_size() const override { return embedding_.size(0); }

 private:
  class Stream;  // models/recurrent_language_model_stream.cpp

  double dropout_;
  Variable embedding_;  // (V, d)
  std::unique_ptr<RecurrentStack> stack_;
  Variable output_weight_, output_bias_;  // (V, D), (V)
};

}  // namespace rondo
