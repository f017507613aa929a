// Optimizers: RAdam as the reference trains with, Adam, AdamW and SGD.
#pragma once

#include <memory>
#include <vector>

#include "core/safetensors.h"
#include "core/scalar/optimizer_step.h"
#include "models/module.h"
#include "ops/fused_update.h"
#include "trainers/config.h"

namespace rondo {

// On a GPU nothing here waits for it, but for what says so.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // Moves every parameter by its gradient times `grad_scale`. A parameter without a gradient counts
  // as having gradient zero.
  virtual void step(double lr, double grad_scale = 1.0) = 0;

  // What a backward pass starts from: `factor` times the loss scale, f32 of shape {1}.
  virtual Tensor loss_gradient(double factor) = 0;
  // The norm of all gradients together, over the loss scale: f64 of shape {1}. Where the parameters
  // are, as all tensors here.
  virtual Tensor grad_norm() = 0;
  // Moves every parameter by its gradient, over the loss scale and clipped, if admit_step takes the
  // step (core/scalar/optimizer_step.h); else nothing moves.
  virtual void checked_step(double lr, const StepLimits& limits) = 0;

  // How far the steps have come, and the loss scale. On a GPU this waits.
  virtual StepState progress() const = 0;
  virtual void set_progress(const StepState& progress) = 0;
  // Steps taken. On a GPU this waits.
  std::int64_t steps() const { return progress().steps; }
  // The moments, under the parameters' names: writing to these tensors restores a state.
  const std::vector<NamedTensor>& state() const { return state_; }

 protected:
  std::vector<NamedTensor> state_;
};

// An optimizer of `parameters`, which are all on one device, with its moments at zero.
//
//   radam  Liu et al., 2020, as the reference's: the variance is rectified once rho_t >= 5; on the
//          steps before, moments accumulate and nothing moves. Weight decay is decoupled and
//          applies on the steps that move, to every parameter.
//   adam   Kingma and Ba, 2015; weight_decay is added to the gradient.
//   adamw  Loshchilov and Hutter, 2019: decoupled weight decay.
//   sgd    with momentum; weight_decay is added to the gradient.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config,
                                          const Parameters& parameters);

// The Euclidean norm of all gradients together, summed in double in a fixed order. On a GPU, whose
// gradients must be of one type, this waits.
double grad_norm(const Parameters& parameters);
void zero_grads(const Parameters& parameters);
// Whether no element of any parameter is NaN or infinite. On a GPU this waits.
bool all_finite(const Parameters& parameters);

}  // namespace rondo
