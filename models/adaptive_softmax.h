// The softmax of large vocabularies (Grave et al. 2017), and the embedding that shares its rows
// (Baevski and Auli 2019): rare words cost less, in time and in parameters.
#pragma once

#include <vector>

#include "models/vocabulary_layers.h"

namespace rondo {

struct AdaptiveOptions {
  std::vector<std::int64_t> cutoffs;  // the first id of every cluster but the first; increasing
  std::int64_t row_size = 0;          // n_e: of the rows of cluster 0
  std::int64_t div_val = 4;           // n_i = n_e / div_val^i, rounded down; may be 0
  bool tie_projections = true;        // both ends share the projections, too
  double range = 0.0;                 // rows start uniform in +- this
  double dropout = 0.0;               // of rows, and of projected states
};

// Ids are numbered from the most frequent down and cut into clusters. With W_i (rows, n_i) and b_i
// of cluster i, and the projections P_i (D, n_i) and Q_i (d, n_i), which is P_i if they are tied:
//
//   embedding of id w in cluster i   x = Q_i dropout(W_i[w - first id of i])
//   scores of cluster i              s_i = W_i dropout(P_i^T h) + b_i
//
// W_0 has a row for each id of cluster 0, and behind them one for each other cluster, that of
// cluster i the i-th from the end: log p(w) = log softmax(s_0)[w] in cluster 0, and in cluster i
// log softmax(s_0)[-i] + log softmax(s_i)[w - first id of i]. In training, s_0 is computed for
// every position and s_i only for those whose target is in cluster i; a cluster that holds no
// target costs nothing and leaves its gradient undefined, which is zero to optimizers. Where n_i is
// 0, there is no W_i, P_i and Q_i: rows are zero and s_i is b_i.
//
// Projections start Xavier uniform, biases at zero. Ids and targets are sorted by cluster on the
// CPU; to have them on a GPU makes every call wait for it.
class AdaptiveSoftmax final : public VocabularyLayers {
 public:
  // Throws Error unless the cutoffs increase and leave no cluster empty, and when projections are
  // tied that have different sizes.
  AdaptiveSoftmax(std::int64_t vocabulary_size, std::int64_t input_size, std::int64_t state_size,
                  const AdaptiveOptions& options, Initializer& init);

  Variable embed(const Tensor& ids, const ForwardContext& context) const override;
  Variable loss(const Variable& h, const Tensor& targets,
                const ForwardContext& context) const override;
  Tensor loss_sum(const Tensor& h, const Tensor& targets,
                  const ForwardContext& context) const override;
  // Log-probabilities, worked out on the CPU, without a gradient: train with `loss`.
  Variable scores(const Variable& h, const ForwardContext& context) const override;
  std::unique_ptr<VocabularyStepper> stepper(std::int64_t streams) const override;
  std::int64_t vocabulary_size() const override { return vocabulary_size_; }
  bool reads_ids_on_cpu() const override { return true; }
  // "embedding.projections.i" where they are not tied.
  Parameters embedding_parameters() const override;
  // "softmax.clusters.i.weight", "softmax.clusters.i.bias", "softmax.projections.i".
  Parameters output_parameters() const override;

 private:
  class Stepper;  // models/adaptive_softmax_stepper.cpp

  struct Cluster {
    std::int64_t first = 0;         // its first id
    std::int64_t size = 0;          // how many ids it has
    std::int64_t row_size = 0;      // n_i
    Variable weight;                // W_i; undefined, like both projections, where n_i is 0
    Variable bias;                  // b_i
    Variable projection;            // P_i
    Variable embedding_projection;  // Q_i
  };
  // The positions of the ids of one cluster, and those ids, counted from its first.
  struct Members {
    std::vector<std::int32_t> positions;
    std::vector<std::int32_t> ids;
  };

  std::size_t cluster_of(std::int32_t id) const;
  std::vector<Members> members_of(std::string_view what, const Tensor& ids) const;
  // The targets of s_0: ids of cluster 0, rows of other clusters.
  Tensor head_targets(const std::vector<Members>& members) const;
  // x (k, d) of ids of one cluster.
  Variable rows(const Cluster& cluster, const std::vector<std::int32_t>& ids,
                const ForwardContext& context) const;
  // s_i (R, rows of W_i) of h (R, D).
  Variable cluster_scores(const Cluster& cluster, const Variable& h,
                          const ForwardContext& context) const;
  // Log-probabilities (R, V) from s_i (R, rows of W_i) of all clusters, on the CPU.
  void combine(const std::vector<Tensor>& cluster_scores, Tensor& log_probabilities) const;

  std::int64_t vocabulary_size_;
  std::int64_t input_size_;
  AdaptiveOptions options_;
  std::vector<Cluster> clusters_;
};

}  // namespace rondo
