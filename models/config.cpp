#include "models/config.h"

#include <algorithm>

namespace rondo {

bool layer_attends(const ModelConfig& config, std::int64_t layer) {
  if (config.type != ModelType::srupp && config.type != ModelType::sha_lstm) {
    return false;
  }
  if (config.attention_layers) {
    const auto& listed = *config.attention_layers;
    return std::find(listed.begin(), listed.end(), layer + 1) != listed.end();
  }
  if (config.attention_last_n_layers) {
    return config.num_layers - layer <= *config.attention_last_n_layers;
  }
  if (config.type == ModelType::sha_lstm && !config.attention_every_n_layers) {
    return layer == std::max<std::int64_t>(config.num_layers - 2, 0);
  }
  return (layer + 1) % config.attention_every_n_layers.value_or(1) == 0;
}

}  // namespace rondo
