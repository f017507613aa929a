// The optimizer step of a whole model on a GPU, in a few launches and without waiting for it. No
// history: not for use in a model.
#pragma once

#include <variant>
#include <vector>

#include "autograd/variable.h"
#include "core/scalar/optimizer_step.h"

namespace rondo {

namespace cuda {
struct StepRequest;
}

// A parameter and its moments, of its shape and type. `second` is undefined with SGD.
struct UpdatedParameter {
  Variable parameter;
  Tensor first;   // m, or SGD's velocity; undefined where only the norm is asked for
  Tensor second;  // v
};

// When a step is taken, and how far.
struct StepLimits {
  Tensor loss;            // {1}, f64
  Tensor norm;            // {1}, f64: of the gradient, divided by the loss scale
  double max_norm = 0.0;  // to which the gradient is clipped; 0: no limit
  bool adaptive = false;  // the loss scale adapts itself (admit_step)
};

class FusedUpdate {
 public:
  // At least one parameter; all are f32 or all f64, on one GPU. Their tensors must stay where they
  // are; gradients may come and go.
  explicit FusedUpdate(std::vector<UpdatedParameter> parameters);

  // The Euclidean norm of all gradients, divided by the loss scale: {1}, f64, on the GPU.
  // Parameters without a gradient count as zero, here and in the steps.
  Tensor grad_norm();
  // factor * loss scale: {1}, f32, on the GPU.
  Tensor loss_gradient(double factor);

  using Rule = std::variant<AdamRule, SgdRule>;
  // Moves every parameter by its gradient times `grad_scale`.
  void step(const Rule& rule, double lr, double grad_scale);
  // Moves them, as the GPU decides (admit_step), by the gradient divided by the loss scale and
  // clipped.
  void step(const Rule& rule, double lr, const StepLimits& limits);

  // How far the steps have come. Reading waits for the GPU.
  StepState state() const;
  void set_state(const StepState& state);

 private:
  void take_gradients();
  void take_step(const Rule& rule, const cuda::StepRequest& request);
  template <typename T>
  void build_table();

  std::vector<UpdatedParameter> parameters_;
  Device device_;
  DType dtype_;
  // In device memory, as bytes: what cuda_kernels/optimizer.h describes.
  Tensor rows_;
  Tensor chunks_;
  Tensor prepared_;
  Tensor state_;
  Tensor partials_;
  std::vector<const void*> gradients_;  // that stand in rows_
};

}  // namespace rondo
