// SRU++: the product of a layer replaced by a low-rank one with attention inside (Lei, "When
// Attention Meets Fast Recurrence", EMNLP 2021, section 3).
#pragma once

#include <functional>
#include <optional>

#include "models/sru_stack.h"

namespace rondo {

// What the two transforms of SRU++ share.
struct SruppTransformOptions {
  std::int64_t projection_size = 0;  // n
  double dropout = 0.0;              // before the last product
  bool layer_norm = true;            // over the projection
  // With attention only:
  std::int64_t num_heads = 1;
  double attention_dropout = 0.0;
  bool normalize_after = true;  // LayerNorm after the attention, else on what goes into it
};

// Without attention: z = x W1, LayerNorm, dropout, U = z W2. Reference: SRUppProjectedLinear.
class SruppProjectedLinear final : public Transform {
 public:
  SruppProjectedLinear(std::int64_t in, std::int64_t out, const SruppTransformOptions& options,
                       Initializer& init);

  Variable forward(const TransformInputs& inputs, const ForwardContext& context) const override;
  std::unique_ptr<TransformStepper> stepper(std::int64_t streams,
                                            std::int64_t window) const override;
  Parameters parameters() const override;

 private:
  class Stepper;

  SruppTransformOptions options_;
  Linear linear1_, linear2_;
  std::optional<LayerNorm> layer_norm_;
};

// With attention. Reference: SRUppAttention.
class SruppAttention final : public Transform {
 public:
  SruppAttention(std::int64_t in, std::int64_t out, const SruppTransformOptions& options,
                 Initializer& init);

  Variable forward(const TransformInputs& inputs, const ForwardContext& context) const override;
  std::unique_ptr<TransformStepper> stepper(std::int64_t streams,
                                            std::int64_t window) const override;
  Parameters parameters() const override;
  bool attends() const override { return true; }

 private:
  class Stepper;

  SruppTransformOptions options_;
  Linear linear1_, linear2_, linear3_;
  Variable alpha_;  // (1)
  std::optional<LayerNorm> layer_norm_;
};

struct SruppOptions {
  StackOptions stack;
  SruppTransformOptions transform;
  // Whether layer i (from 0) attends; unset: every layer.
  std::function<bool(std::int64_t layer)> attends;
};

SruStack make_srupp(const SruppOptions& options, Initializer& init);

}  // namespace rondo
