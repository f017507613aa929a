// One layer: a transform, then the elementwise recurrence.
#pragma once

#include <memory>
#include <optional>

#include "core/scalar/sru_step.h"
#include "models/config.h"
#include "models/linear.h"
#include "models/transform.h"
#include "ops/sru_scan.h"

namespace rondo {

// What all layers of a stack share, whatever their transform.
struct LayerOptions {
  std::int64_t hidden_size = 0;  // d, per direction
  bool bidirectional = false;
  bool has_skip_term = true;
  Activation activation = Activation::identity;
  LayerNormPlace layer_norm = LayerNormPlace::none;
  double highway_bias = 0.0;
  bool rescale = false;
  double weight_c_init = 1.0;

  // D: units of both directions.
  std::int64_t output_size() const { return bidirectional ? 2 * hidden_size : hidden_size; }
  // k: planes of U. The fourth is the skip term of a layer whose input has another size.
  std::int64_t planes(std::int64_t input_size) const {
    return has_skip_term && input_size != output_size() ? 4 : 3;
  }
  // How the recurrence runs.
  SruScanOptions scan() const;
};

struct LayerInputs {
  TransformInputs transform;
  Variable c0;      // (B, D); undefined for zeros
  Tensor mask_pad;  // (T, B), bool; undefined for none
};

struct LayerOutputs {
  Variable h;  // (T, B, D)
  Variable c;  // (B, D)
};

// Reference: SRUCell and SRUppCell.
class SruLayer {
 public:
  // `state_dropout` is the variational dropout m of the recurrence.
  SruLayer(std::int64_t input_size, const LayerOptions& options, double state_dropout,
           std::unique_ptr<Transform> transform, Initializer& init);

  LayerOutputs forward(const LayerInputs& inputs, const ForwardContext& context) const;
  Parameters parameters() const;
  bool attends() const { return transform_->attends(); }

 private:
  friend class SruLayerStepper;  // models/sru_layer_stepper.h

  LayerOptions options_;
  double state_dropout_;
  bool takes_x_;  // the skip term is the layer's input
  std::unique_ptr<Transform> transform_;
  Variable weight_c_, bias_;  // (2*D)
  std::optional<LayerNorm> layer_norm_;
};

}  // namespace rondo
