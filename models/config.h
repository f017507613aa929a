// Every choice that shapes a language model. Defaults are those of the SRU++ language models
// (srupp paper, section 4, and its authors' scripts).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/scalar/sru_step.h"

namespace rondo {

// After the first two: the baselines to compare them with.
enum class ModelType : std::uint8_t { sru, srupp, lstm, sha_lstm, transformer, transformer_xl };
enum class LayerNormPlace : std::uint8_t { none, pre, post };
// The range of the uniform initialisation of embedding and output weights: +-sqrt(3 / this size).
enum class EmbeddingInit : std::uint8_t { hidden_size, vocabulary };
// Scores of all ids at once, or of a short list of frequent ones and of clusters of the others.
enum class SoftmaxType : std::uint8_t { full, adaptive };

struct ModelConfig {
  ModelType type = ModelType::srupp;
  std::int64_t hidden_size = 512;  // d: units of a layer
  std::int64_t num_layers = 10;
  std::int64_t projection_size = 0;  // n: SRU++ needs it; for SRU, 0 means no projection; LSTM: 0
  // Attention heads. SRU++: must divide projection_size; Transformers: hidden_size, unless
  // head_size is given.
  std::int64_t num_heads = 1;
  std::int64_t head_size = 0;  // Transformers: of q, k and v; 0: hidden_size / num_heads
  // Transformers: units between the products of feed-forward; SHA-LSTM: of its only one, a multiple
  // of hidden_size.
  std::int64_t inner_size = 0;

  // Which layers attend: at most one of these three; none means every layer of SRU++, and of a
  // SHA-LSTM the last but one, as in its paper (of a single layer, that one).
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

  // Embedding and softmax.
  SoftmaxType softmax = SoftmaxType::full;
  bool tie_weights = false;  // full: the rows of the embedding are those of the output
  // adaptive (Grave et al. 2017; Baevski and Auli 2019): embedding rows are always output rows.
  std::optional<std::vector<std::int64_t>> cutoffs;  // the first id of every cluster but the first
  std::int64_t embedding_size = 0;  // n_e: of the rows of the first cluster; 0: hidden_size
  std::int64_t div_val = 4;         // n_e is divided by it from one cluster to the next
  bool tie_projections = true;      // the products between n_e and d, too, are shared
  double embedding_dropout = 0.0;   // on embedding rows and before the output's product

  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

// Whether layer `layer` (from 0) of an SRU++ or SHA-LSTM model attends; false for other types.
bool layer_attends(const ModelConfig& config, std::int64_t layer);

}  // namespace rondo
