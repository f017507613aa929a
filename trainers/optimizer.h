// Optimizers: RAdam as the reference trains with, Adam, AdamW and SGD.
#pragma once

#include <memory>
#include <vector>

#include "core/safetensors.h"
#include "models/module.h"
#include "trainers/config.h"

namespace rondo {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Moves every parameter by its gradient times `grad_scale`. A parameter without a gradient counts
  // as having gradient zero.
  virtual void step(double lr, double grad_scale = 1.0) = 0;

  // Steps taken.
  std::int64_t steps() const { return steps_; }
  void set_steps(std::int64_t steps) { steps_ = steps; }
  // The moments, under the parameters' names: writing to these tensors restores a state.
  const std::vector<NamedTensor>& state() const { return state_; }

 protected:
  std::int64_t steps_ = 0;
  std::vector<NamedTensor> state_;
};

// An optimizer of `parameters` with its moments at zero.
//
//   radam  Liu et al., 2020, as the reference's: the variance is rectified once rho_t >= 5; on the
//          steps before, moments accumulate and nothing moves. Weight decay is decoupled and
//          applies on the steps that move, to every parameter.
//   adam   Kingma and Ba, 2015; weight_decay is added to the gradient.
//   adamw  Loshchilov and Hutter, 2019: decoupled weight decay.
//   sgd    with momentum; weight_decay is added to the gradient.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config,
                                          const Parameters& parameters);

// The Euclidean norm of all gradients together, summed in double in a fixed order.
double grad_norm(const Parameters& parameters);
// The factor that brings a gradient of norm `norm` to at most `max_norm` (0: no limit), as
// PyTorch's clip_grad_norm_ computes it: max_norm / (norm + 1e-6) where that is below 1.
double clip_factor(double norm, double max_norm);
void zero_grads(const Parameters& parameters);
// Whether no element of any parameter is NaN or infinite.
bool all_finite(const Parameters& parameters);

}  // namespace rondo
