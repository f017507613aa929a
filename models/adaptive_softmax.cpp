#include "models/adaptive_softmax.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "models/chunked_loss.h"
#include "ops/cast.h"
#include "ops/concat.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/ids.h"
#include "ops/linear.h"

namespace rondo {
namespace {

Tensor tensor_of(const std::vector<std::int32_t>& ids) {
  return Tensor::from(ids, {static_cast<std::int64_t>(ids.size())});
}

template <typename T>
double log_sum_exp(const T* x, std::int64_t n) {
  const double most = *std::max_element(x, x + n);
  double sum = 0.0;
  for (std::int64_t i = 0; i < n; ++i) {
    sum += std::exp(static_cast<double>(x[i]) - most);
  }
  return most + std::log(sum);
}

}  // namespace

AdaptiveSoftmax::AdaptiveSoftmax(std::int64_t vocabulary_size, std::int64_t input_size,
                                 std::int64_t state_size, const AdaptiveOptions& options,
                                 Initializer& init)
    : vocabulary_size_(vocabulary_size), input_size_(input_size), options_(options) {
  std::vector<std::int64_t> ends = options.cutoffs;
  ends.push_back(vocabulary_size);
  check(ends.front() >= 1 && std::is_sorted(ends.begin(), ends.end(), std::less_equal<>()),
        "[adaptive softmax] cutoffs [{}] do not fit a vocabulary of {} ids; each must be larger "
        "than the one before, and the last smaller than the vocabulary",
        fmt::join(options.cutoffs, ", "), vocabulary_size);
  check(!options.tie_projections || input_size == state_size,
        "[adaptive softmax] projections of inputs of {} and states of {} cannot be tied; set "
        "tie_projections to false",
        input_size, state_size);
  const auto tails = static_cast<std::int64_t>(options.cutoffs.size());
  std::int64_t first = 0;
  std::int64_t row_size = options.row_size;
  for (const std::int64_t end : ends) {
    Cluster cluster;
    cluster.first = first;
    cluster.size = end - first;
    cluster.row_size = row_size;
    const std::int64_t rows = cluster.size + (first == 0 ? tails : 0);
    if (row_size > 0) {
      cluster.weight = init.uniform({rows, row_size}, options.range);
    }
    cluster.bias = init.constant({rows}, 0.0);
    clusters_.push_back(cluster);
    first = end;
    row_size /= options.div_val;
  }
  for (Cluster& cluster : clusters_) {
    if (cluster.row_size > 0) {
      cluster.projection = init.xavier(state_size, cluster.row_size);
      cluster.embedding_projection =
          options.tie_projections ? cluster.projection : init.xavier(input_size, cluster.row_size);
    }
  }
}

std::size_t AdaptiveSoftmax::cluster_of(std::int32_t id) const {
  const auto& cutoffs = options_.cutoffs;
  return static_cast<std::size_t>(std::upper_bound(cutoffs.begin(), cutoffs.end(), id) -
                                  cutoffs.begin());
}

std::vector<AdaptiveSoftmax::Members> AdaptiveSoftmax::members_of(std::string_view what,
                                                                  const Tensor& ids) const {
  const Tensor here = ids.to(Device::cpu());
  check_ids("adaptive softmax", what, here, vocabulary_size_);
  std::vector<Members> members(clusters_.size());
  std::int32_t position = 0;
  for (const std::int32_t id : here.values<std::int32_t>()) {
    const std::size_t cluster = cluster_of(id);
    members[cluster].positions.push_back(position++);
    members[cluster].ids.push_back(id - static_cast<std::int32_t>(clusters_[cluster].first));
  }
  return members;
}

Tensor AdaptiveSoftmax::head_targets(const std::vector<Members>& members) const {
  std::int64_t count = 0;
  for (const Members& in : members) {
    count += static_cast<std::int64_t>(in.positions.size());
  }
  Tensor targets = Tensor::empty({count}, DType::i32);
  auto* const to = targets.data<std::int32_t>();
  const std::int64_t rows = clusters_.front().bias.size(0);
  for (std::size_t i = 0; i < members.size(); ++i) {
    for (std::size_t k = 0; k < members[i].ids.size(); ++k) {
      to[members[i].positions[k]] =
          i == 0 ? members[i].ids[k]
                 : static_cast<std::int32_t>(rows - static_cast<std::int64_t>(i));
    }
  }
  return targets;
}

Variable AdaptiveSoftmax::rows(const Cluster& cluster, const std::vector<std::int32_t>& ids,
                               const ForwardContext& context) const {
  if (cluster.row_size == 0) {
    return Variable(Tensor::zeros({static_cast<std::int64_t>(ids.size()), input_size_},
                                  cluster.bias.dtype(), cluster.bias.device()));
  }
  const Variable rows =
      dropout_in_training(embedding(tensor_of(ids), cluster.weight), options_.dropout, context);
  return linear(rows, cluster.embedding_projection, Variable(), context.precision);
}

Variable AdaptiveSoftmax::embed(const Tensor& ids, const ForwardContext& context) const {
  const std::vector<Members> members = members_of("ids", ids);
  Tensor places = Tensor::empty(ids.shape(), DType::i32);  // of each position among the parts
  std::vector<Variable> parts;
  std::int32_t place = 0;
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (!members[i].ids.empty()) {
      parts.push_back(rows(clusters_[i], members[i].ids, context));
    }
    for (const std::int32_t position : members[i].positions) {
      places.data<std::int32_t>()[position] = place++;
    }
  }
  return embedding(places, concat(parts, 0), activation_type(clusters_.front().bias, context));
}

Variable AdaptiveSoftmax::cluster_scores(const Cluster& cluster, const Variable& h,
                                         const ForwardContext& context) const {
  if (cluster.row_size == 0) {  // the bias in every row: a product with nothing
    const auto zeros = [&](std::int64_t rows) {
      return Variable(Tensor::zeros({rows, 1}, h.dtype(), h.device()));
    };
    return linear(zeros(h.size(0)), zeros(cluster.size), cluster.bias, context.precision);
  }
  const Variable projected = dropout_in_training(
      linear_transposed(h, cluster.projection, context.precision), options_.dropout, context);
  return linear(projected, cluster.weight, cluster.bias, context.precision);
}

Variable AdaptiveSoftmax::loss(const Variable& h, const Tensor& targets,
                               const ForwardContext& context) const {
  check_shape("adaptive softmax", "targets", targets, {h.size(0), h.size(1)});
  const std::vector<Members> members = members_of("targets", targets);
  const std::int64_t count = targets.numel();
  const Variable all = reshape(cast(h, clusters_.front().bias.dtype()), {count, h.shape().back()});
  Variable nats =
      cross_entropy(cluster_scores(clusters_.front(), all, context), head_targets(members));

  std::vector<std::int32_t> positions;  // of the other clusters, one behind the other
  std::vector<std::int64_t> sizes;
  for (std::size_t i = 1; i < members.size(); ++i) {
    positions.insert(positions.end(), members[i].positions.begin(), members[i].positions.end());
    sizes.push_back(static_cast<std::int64_t>(members[i].positions.size()));
  }
  if (positions.empty()) {
    return nats;
  }
  const std::vector<Variable> parts = split(embedding(tensor_of(positions), all), sizes, 0);
  for (std::size_t i = 1; i < members.size(); ++i) {
    if (const std::int64_t rows = sizes[i - 1]; rows > 0) {
      const Variable mean = cross_entropy(cluster_scores(clusters_[i], parts[i - 1], context),
                                          tensor_of(members[i].ids));
      nats = add(nats, scale(mean, static_cast<double>(rows) / static_cast<double>(count)));
    }
  }
  return nats;
}

Tensor AdaptiveSoftmax::loss_sum(const Tensor& h, const Tensor& targets,
                                 const ForwardContext& context) const {
  check_shape("adaptive softmax", "targets", targets, {h.size(0), h.size(1)});
  const NoGradGuard no_grad;
  const std::vector<Members> members = members_of("targets", targets);
  const Variable all =
      reshape(cast(Variable(h), clusters_.front().bias.dtype()), {targets.numel(), h.size(2)});
  const auto sum = [&](const Cluster& cluster, const Tensor& some, const Tensor& ids) {
    return chunked_loss_sum(some, ids, cluster.bias.size(0), [&](const Tensor& rows) {
      return cluster_scores(cluster, Variable(rows), context).value();
    });
  };
  Tensor nats = sum(clusters_.front(), all.value(), head_targets(members));
  for (std::size_t i = 1; i < members.size(); ++i) {
    if (!members[i].ids.empty()) {
      nats.add_(sum(clusters_[i], embedding(tensor_of(members[i].positions), all).value(),
                    tensor_of(members[i].ids)));
    }
  }
  return nats;
}

Variable AdaptiveSoftmax::scores(const Variable& h, const ForwardContext& context) const {
  const NoGradGuard no_grad;
  const DType type = clusters_.front().bias.dtype();
  const Shape shape = h.shape().with(-1, vocabulary_size_);
  const Variable all = reshape(cast(h, type), {shape.rows(), h.shape().back()});
  std::vector<Tensor> parts;
  for (const Cluster& cluster : clusters_) {
    parts.push_back(cluster_scores(cluster, all, context).value().to(Device::cpu()));
  }
  Tensor log_probabilities = Tensor::empty({shape.rows(), vocabulary_size_}, type);
  combine(parts, log_probabilities);
  return Variable(log_probabilities.reshape(shape).to(h.device()));
}

void AdaptiveSoftmax::combine(const std::vector<Tensor>& cluster_scores,
                              Tensor& log_probabilities) const {
  dispatch_compute(log_probabilities.dtype(), "adaptive softmax", [&]<typename T>(Type<T>) {
    T* const to = log_probabilities.data<T>();
    const std::int64_t head = cluster_scores.front().size(1);
    parallel_for(0, log_probabilities.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* const s0 = cluster_scores.front().data<T>() + row * head;
        const double head_sum = log_sum_exp(s0, head);
        for (std::size_t i = 0; i < clusters_.size(); ++i) {
          const Cluster& cluster = clusters_[i];
          const T* const s = cluster_scores[i].data<T>() + row * cluster_scores[i].size(1);
          const double offset = i == 0
                                    ? -head_sum
                                    : static_cast<double>(s0[head - static_cast<std::int64_t>(i)]) -
                                          head_sum - log_sum_exp(s, cluster.size);
          std::transform(
              s, s + cluster.size, to + row * vocabulary_size_ + cluster.first,
              [=](T score) { return static_cast<T>(static_cast<double>(score) + offset); });
        }
      }
    });
  });
}

Parameters AdaptiveSoftmax::embedding_parameters() const {
  Parameters all;
  for (std::size_t i = 0; i < clusters_.size() && !options_.tie_projections; ++i) {
    if (clusters_[i].row_size > 0) {
      all.push_back(
          {fmt::format("embedding.projections.{}", i), clusters_[i].embedding_projection});
    }
  }
  return all;
}

Parameters AdaptiveSoftmax::output_parameters() const {
  Parameters all;
  for (std::size_t i = 0; i < clusters_.size(); ++i) {
    if (clusters_[i].row_size > 0) {
      all.push_back({fmt::format("softmax.clusters.{}.weight", i), clusters_[i].weight});
    }
    all.push_back({fmt::format("softmax.clusters.{}.bias", i), clusters_[i].bias});
  }
  for (std::size_t i = 0; i < clusters_.size(); ++i) {
    if (clusters_[i].row_size > 0) {
      all.push_back({fmt::format("softmax.projections.{}", i), clusters_[i].projection});
    }
  }
  return all;
}

}  // namespace rondo
