#include "models/vocabulary_layers.h"

#include <cmath>

#include "models/adaptive_softmax.h"
#include "models/full_softmax.h"

namespace rondo {

std::unique_ptr<VocabularyLayers> build_vocabulary_layers(const ModelConfig& config,
                                                          std::int64_t vocabulary_size,
                                                          std::int64_t state_size,
                                                          Initializer& init) {
  const std::int64_t width =
      config.embedding_init == EmbeddingInit::hidden_size ? config.hidden_size : vocabulary_size;
  const double range = std::sqrt(3.0 / static_cast<double>(width));
  if (config.softmax == SoftmaxType::adaptive) {
    AdaptiveOptions options;
    options.cutoffs = config.cutoffs.value_or(std::vector<std::int64_t>{});
    options.row_size = config.embedding_size > 0 ? config.embedding_size : config.hidden_size;
    options.div_val = config.div_val;
    options.tie_projections = config.tie_projections;
    options.range = range;
    options.dropout = config.embedding_dropout;
    return std::make_unique<AdaptiveSoftmax>(vocabulary_size, config.hidden_size, state_size,
                                             options, init);
  }
  return std::make_unique<FullSoftmax>(vocabulary_size, config.hidden_size, state_size, range,
                                       config.tie_weights, init);
}

}  // namespace rondo
