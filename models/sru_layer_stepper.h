// A layer that takes a batch of streams one position at a time.
#pragma once

#include <memory>
#include <optional>

#include "models/sru_layer.h"

namespace rondo {

// Starts at the beginning of the streams' texts. Shares the weights of `layer`, which are f32 and
// say on which device it steps. Without gradients; throws Error for a bidirectional layer, which
// has no next step.
class SruLayerStepper {
 public:
  SruLayerStepper(const SruLayer& layer, std::int64_t streams, std::int64_t window);

  // h (B, D) of the next position from x (B, input); the next call overwrites it.
  const Tensor& step(const Tensor& x);
  // Goes on where a parallel pass ended: its state c (B, D), and its memory (M, B, input),
  // undefined for none; with 1 in place of B, the same for every stream.
  void restore(const Tensor& c, const Tensor& memory);

 private:
  bool takes_x_;
  LayerNormPlace layer_norm_place_;
  SruScanOptions scan_;
  Variable weight_c_, bias_;
  std::optional<LayerNorm> layer_norm_;
  std::unique_ptr<TransformStepper> transform_;
  Tensor normalized_;  // (B, input), only with LayerNorm before the layer
  Tensor u_;           // (B, k*D)
  Tensor c_, h_;       // (B, D)
};

}  // namespace rondo
