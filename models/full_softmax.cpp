#include "models/full_softmax.h"

#include "models/chunked_loss.h"
#include "ops/cast.h"
#include "ops/cross_entropy.h"
#include "ops/embedding.h"
#include "ops/linear.h"
#include "ops/stepping.h"

namespace rondo {
namespace {

class Stepper final : public VocabularyStepper {
 public:
  Stepper(const Tensor& embedding, const Tensor& weight, const Tensor& bias, std::int64_t streams)
      : embedding_(embedding),
        weight_(weight),
        bias_(bias),
        x_(Tensor::empty({streams, embedding.size(1)}, DType::f32, embedding.device())),
        scores_(Tensor::empty({streams, weight.size(0)}, DType::f32, weight.device())),
        cpu_scores_(weight.device().is_cpu() ? scores_ : Tensor::empty(scores_.shape())) {}

  const Tensor& embed(const Tensor& ids) override {
    embedding_step(ids, embedding_, x_);
    return x_;
  }
  const Tensor& scores(const Tensor& h) override {
    linear_step(h, weight_, bias_, scores_);
    if (!scores_.device().is_cpu()) {
      cpu_scores_.copy_from(scores_);
    }
    return cpu_scores_;
  }

 private:
  Tensor embedding_, weight_, bias_;
  Tensor x_;           // (B, d)
  Tensor scores_;      // (B, V)
  Tensor cpu_scores_;  // (B, V): scores_ itself with weights on the CPU
};

}  // namespace

FullSoftmax::FullSoftmax(std::int64_t vocabulary_size, std::int64_t row_size,
                         std::int64_t state_size, double range, bool tied, Initializer& init)
    : tied_(tied),
      embedding_(init.uniform({vocabulary_size, row_size}, range)),
      output_weight_(tied ? embedding_ : init.uniform({vocabulary_size, state_size}, range)),
      output_bias_(init.constant({vocabulary_size}, 0.0)) {
  check(!tied || row_size == state_size,
        "[FullSoftmax] tied weights need states of the size of embedding rows, {}; this stack's "
        "have {}",
        row_size, state_size);
}

Variable FullSoftmax::embed(const Tensor& ids, const ForwardContext& context) const {
  return embedding(ids, embedding_, activation_type(embedding_, context));
}

Variable FullSoftmax::scores(const Variable& h, const ForwardContext& context) const {
  return linear(cast(h, output_weight_.dtype()), output_weight_, output_bias_, context.precision);
}

Variable FullSoftmax::loss(const Variable& h, const Tensor& targets,
                           const ForwardContext& context) const {
  return cross_entropy(scores(h, context), targets);
}

Tensor FullSoftmax::loss_sum(const Tensor& h, const Tensor& targets,
                             const ForwardContext& context) const {
  check_shape("FullSoftmax", "targets", targets, {h.size(0), h.size(1)});
  const std::int64_t rows = h.size(0) * h.size(1);
  return chunked_loss_sum(
      h.reshape({rows, h.size(2)}), targets.reshape({rows}), vocabulary_size(),
      [&](const Tensor& some) { return scores(Variable(some), context).value(); });
}

std::unique_ptr<VocabularyStepper> FullSoftmax::stepper(std::int64_t streams) const {
  return std::make_unique<Stepper>(embedding_.value(), output_weight_.value(), output_bias_.value(),
                                   streams);
}

Parameters FullSoftmax::output_parameters() const {
  Parameters all;
  if (!tied_) {
    all.push_back({"output.weight", output_weight_});
  }
  all.push_back({"output.bias", output_bias_});
  return all;
}

}  // namespace rondo
