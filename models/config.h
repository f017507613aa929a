// Every choice that shapes a language model. Defaults are those of the SRU++ language models
// (srupp paper, section 4, and its authors' scripts).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/scalar/sru_step.h"

namespace rondo {

// LSTM is the baseline to compare the others with.
enum class ModelType : std::uint8_t { sru, srupp, lstm };
enum class LayerNormPlace : std::uint8_t { none, pre, post };
// The range of the uniform initialisation of embedding and output weights: +-sqrt(3 / this size).
enum class EmbeddingInit : std::uint8_t { hidden_size, vocabulary };

struct ModelConfig {
  ModelType type = ModelType::srupp;
  std::int64_t hidden_size = 512;  // d: units of a layer
  std::int64_t num_layers = 10;
  std::int64_t projection_size = 0;  // n: SRU++ needs it; for SRU, 0 means no projection; LSTM: 0
  std::int64_t num_heads = 1;        // SRU++; must divide projection_size

  // Which SRU++ layers attend: at most one of these three; none means every layer.
  std::optional<std::int64_t> attention_every_n_layers;  // layer i (from 1) when i mod n = 0
  std::optional<std::int64_t> attention_last_n_layers;   // the last n; 0 means none
  std::optional<std::vector<std::int64_t>>
      attention_layers;  // listed, counted from 1; [] means none

  double dropout = 0.0;            // embedding, inside layers, between layers and before the output
  double attention_dropout = 0.0;  // on attention weights
  // SRU and SRU++, up to layer_norm.
  double highway_bias = -2.0;  // initial bias of the reset gate
  double weight_c_init = 1.0;  // weight_c starts uniform in +-this
  bool rescale = false;        // scale the skip term by sqrt(1 + 2 exp(highway_bias))
  bool has_skip_term = true;   // SRU only; SRU++ always has it
  Activation activation = Activation::identity;      // g in h = g(c): SRU only
  LayerNormPlace layer_norm = LayerNormPlace::none;  // LayerNorm of a whole layer
  bool attention_layer_norm = true;                  // SRU++: LayerNorm over the projection
  bool attention_normalize_after = true;             // SRU++: that LayerNorm after attention
  EmbeddingInit embedding_init = EmbeddingInit::hidden_size;

  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

// Whether layer `layer` (from 0) of an SRU++ model attends.
bool layer_attends(const ModelConfig& config, std::int64_t layer);

}  // namespace rondo
