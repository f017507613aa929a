// The adaptive softmax one id at a time.
#include "models/adaptive_softmax.h"
#include "ops/ids.h"
#include "ops/stepping.h"

namespace rondo {
namespace {

// (n, m) from (m, n), where it is.
Tensor transposed(const Tensor& matrix) {
  const Tensor from = matrix.to(Device::cpu());
  Tensor to = Tensor::empty({from.size(1), from.size(0)});
  for (std::int64_t i = 0; i < to.size(0); ++i) {
    for (std::int64_t j = 0; j < to.size(1); ++j) {
      to.data<float>()[i * to.size(1) + j] = from.data<float>()[j * to.size(0) + i];
    }
  }
  return to.to(matrix.device());
}

}  // namespace

class AdaptiveSoftmax::Stepper final : public VocabularyStepper {
 public:
  Stepper(const AdaptiveSoftmax& softmax, std::int64_t streams);

  const Tensor& embed(const Tensor& ids) override;
  const Tensor& scores(const Tensor& h) override;

 private:
  struct ClusterStep {
    Tensor ids;         // (B), i32, on the CPU
    Tensor rows;        // (B, n_i)
    Tensor projection;  // (n_i, D)
    Tensor projected;   // (B, n_i)
    Tensor scores;      // (B, rows of W_i)
  };

  // Writes the rows of x_ of streams_, whose ids are in step.ids.
  void embed_cluster(const Cluster& cluster, ClusterStep& step);

  const AdaptiveSoftmax& softmax_;
  std::vector<ClusterStep> steps_;
  std::vector<std::int64_t> streams_;  // those whose ids are of one cluster
  std::vector<Tensor> cpu_scores_;     // steps_[i].scores themselves with weights on the CPU
  Tensor embedded_;                    // (B, d): of streams_
  Tensor x_;                           // (B, d)
  Tensor log_probabilities_;           // (B, V), on the CPU
};

AdaptiveSoftmax::Stepper::Stepper(const AdaptiveSoftmax& softmax, std::int64_t streams)
    : softmax_(softmax), log_probabilities_(Tensor::empty({streams, softmax.vocabulary_size_})) {
  const Device device = softmax.clusters_.front().bias.device();
  x_ = Tensor::empty({streams, softmax.input_size_}, DType::f32, device);
  streams_.reserve(static_cast<std::size_t>(streams));
  embedded_ = Tensor::empty(x_.shape(), DType::f32, device);
  for (const Cluster& cluster : softmax.clusters_) {
    ClusterStep step;
    step.scores = Tensor::empty({streams, cluster.bias.size(0)}, DType::f32, device);
    step.ids = Tensor::zeros({streams}, DType::i32);
    if (cluster.row_size > 0) {
      step.rows = Tensor::empty({streams, cluster.row_size}, DType::f32, device);
      step.projection = transposed(cluster.projection.value());
      step.projected = Tensor::empty(step.rows.shape(), DType::f32, device);
    } else {
      for (std::int64_t s = 0; s < streams; ++s) {
        step.scores[s].copy_from(cluster.bias.value());
      }
    }
    // Scores without rows never change, and are not copied again.
    cpu_scores_.push_back(cluster.row_size > 0 && device.is_cuda()
                              ? Tensor::empty(step.scores.shape())
                              : step.scores.to(Device::cpu()));
    steps_.push_back(std::move(step));
  }
}

const Tensor& AdaptiveSoftmax::Stepper::embed(const Tensor& ids) {
  check_ids("adaptive softmax", "ids", ids, softmax_.vocabulary_size_);
  check_shape("adaptive softmax", "ids", ids, {x_.size(0)});
  const auto values = ids.values<std::int32_t>();
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    ClusterStep& step = steps_[i];
    streams_.clear();
    for (std::size_t s = 0; s < values.size(); ++s) {
      if (softmax_.cluster_of(values[s]) == i) {
        step.ids.data<std::int32_t>()[streams_.size()] =
            values[s] - static_cast<std::int32_t>(softmax_.clusters_[i].first);
        streams_.push_back(static_cast<std::int64_t>(s));
      }
    }
    if (!streams_.empty()) {
      embed_cluster(softmax_.clusters_[i], step);
    }
  }
  return x_;
}

void AdaptiveSoftmax::Stepper::embed_cluster(const Cluster& cluster, ClusterStep& step) {
  const auto count = static_cast<std::int64_t>(streams_.size());
  Tensor embedded = embedded_.narrow(0, count);
  if (cluster.row_size == 0) {
    embedded.fill(0.0);
  } else {
    Tensor rows = step.rows.narrow(0, count);
    embedding_step(step.ids.narrow(0, count), cluster.weight.value(), rows);
    linear_step(rows, cluster.embedding_projection.value(), Tensor(), embedded);
  }
  for (std::int64_t k = 0; k < count; ++k) {
    x_[streams_[static_cast<std::size_t>(k)]].copy_from(embedded[k]);
  }
}

const Tensor& AdaptiveSoftmax::Stepper::scores(const Tensor& h) {
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const Cluster& cluster = softmax_.clusters_[i];
    ClusterStep& step = steps_[i];
    if (cluster.row_size == 0) {
      continue;
    }
    linear_step(h, step.projection, Tensor(), step.projected);
    linear_step(step.projected, cluster.weight.value(), cluster.bias.value(), step.scores);
    if (!step.scores.device().is_cpu()) {
      cpu_scores_[i].copy_from(step.scores);
    }
  }
  softmax_.combine(cpu_scores_, log_probabilities_);
  return log_probabilities_;
}

std::unique_ptr<VocabularyStepper> AdaptiveSoftmax::stepper(std::int64_t streams) const {
  return std::make_unique<Stepper>(*this, streams);
}

}  // namespace rondo
