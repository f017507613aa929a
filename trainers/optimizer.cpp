#include "trainers/optimizer.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <optional>

#include "core/parallel.h"
#include "core/reduce.h"
#include "ops/adam_update.h"

namespace rondo {
namespace {

constexpr std::int64_t kGrain = 1 << 14;

// Calls body(i) for every element, over threads.
template <typename Body>
void for_each_element(std::int64_t count, const Body& body) {
  parallel_for(0, count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      body(i);
    }
  });
}

Tensor gradient_or_zeros(const Variable& parameter) {
  return parameter.grad().defined()
             ? parameter.grad()
             : Tensor::zeros(parameter.shape(), parameter.dtype(), parameter.device());
}

AdamRule adam_rule(const OptimizerConfig& config) {
  return {config.beta1,
          config.beta2,
          config.eps,
          config.weight_decay,
          config.type != OptimizerType::adam,
          config.type == OptimizerType::radam};
}

SgdRule sgd_rule(const OptimizerConfig& config) { return {config.momentum, config.weight_decay}; }

// Zeros for every parameter, under its name behind that of the moment.
std::vector<NamedTensor> make_moments(std::initializer_list<const char*> names,
                                      const Parameters& parameters) {
  std::vector<NamedTensor> moments;
  for (const char* moment : names) {
    for (const NamedVariable& p : parameters) {
      moments.push_back(
          {fmt::format("{}.{}", moment, p.name),
           Tensor::zeros(p.variable.shape(), p.variable.dtype(), p.variable.device())});
    }
  }
  return moments;
}

std::vector<NamedTensor> make_moments(OptimizerType type, const Parameters& parameters) {
  return type == OptimizerType::sgd ? make_moments({"velocity"}, parameters)
                                    : make_moments({"m", "v"}, parameters);
}

// Decides on steps; what they do is the derived class's.
class CpuOptimizer : public Optimizer {
 public:
  CpuOptimizer(const OptimizerConfig& config, const Parameters& parameters)
      : parameters_(parameters) {
    state_ = make_moments(config.type, parameters);
  }

  void step(double lr, double grad_scale) final {
    ++progress_.steps;
    move(lr, grad_scale);
  }
  Tensor loss_gradient(double factor) final {
    return Tensor::full({1}, factor * progress_.loss_scale);
  }
  Tensor grad_norm() final {
    return Tensor::full({1}, rondo::grad_norm(parameters_) / progress_.loss_scale, DType::f64);
  }
  void checked_step(double lr, const StepLimits& limits) final {
    const double norm = limits.norm.item();
    const double scale = progress_.loss_scale;
    if (admit_step(progress_, limits.loss.item(), norm, limits.adaptive)) {
      step(lr, clip_factor(norm, limits.max_norm) / scale);
    }
  }
  StepState progress() const final { return progress_; }
  void set_progress(const StepState& progress) final { progress_ = progress; }

 protected:
  // Step number progress_.steps.
  virtual void move(double lr, double grad_scale) = 0;

  Parameters parameters_;
  StepState progress_;
};

class AdamFamily final : public CpuOptimizer {
 public:
  AdamFamily(const OptimizerConfig& config, const Parameters& parameters)
      : CpuOptimizer(config, parameters), rule_(adam_rule(config)) {}

 private:
  void move(double lr, double grad_scale) override {
    const AdamStep<double> s = step_constants(rule_, progress_.steps, lr, grad_scale);
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      Variable& parameter = parameters_[i].variable;
      adam_update(s, gradient_or_zeros(parameter), parameter.value(), state_[i].tensor,
                  state_[parameters_.size() + i].tensor);
    }
  }

  AdamRule rule_;
};

class Sgd final : public CpuOptimizer {
 public:
  Sgd(const OptimizerConfig& config, const Parameters& parameters)
      : CpuOptimizer(config, parameters), rule_(sgd_rule(config)) {}

 private:
  void move(double lr, double grad_scale) override {
    const SgdStep<double> step = step_constants(rule_, progress_.steps, lr, grad_scale);
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      Variable& parameter = parameters_[i].variable;
      const Tensor grad = gradient_or_zeros(parameter);
      dispatch_compute(parameter.dtype(), "optimizer", [&]<typename T>(Type<T>) {
        const SgdStep<T> s = rounded<T>(step);
        const T* g = grad.data<T>();
        T* p = parameter.value().data<T>();
        T* velocity = state_[i].tensor.data<T>();
        for_each_element(grad.numel(),
                         [&](std::int64_t j) { sgd_step(s, g[j], p[j], velocity[j]); });
      });
    }
  }

  SgdRule rule_;
};

std::vector<UpdatedParameter> updated(const Parameters& parameters,
                                      const std::vector<NamedTensor>& moments) {
  std::vector<UpdatedParameter> all;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto moment = [&](std::size_t which) {
      const std::size_t at = which * parameters.size() + i;
      return at < moments.size() ? moments[at].tensor : Tensor();
    };
    all.push_back({parameters[i].variable, moment(0), moment(1)});
  }
  return all;
}

class GpuOptimizer final : public Optimizer {
 public:
  GpuOptimizer(const OptimizerConfig& config, const Parameters& parameters)
      : rule_(config.type == OptimizerType::sgd ? FusedUpdate::Rule(sgd_rule(config))
                                                : FusedUpdate::Rule(adam_rule(config))) {
    state_ = make_moments(config.type, parameters);
    update_.emplace(updated(parameters, state_));
  }

  void step(double lr, double grad_scale) override { update_->step(rule_, lr, grad_scale); }
  Tensor loss_gradient(double factor) override { return update_->loss_gradient(factor); }
  Tensor grad_norm() override { return update_->grad_norm(); }
  void checked_step(double lr, const StepLimits& limits) override {
    update_->step(rule_, lr, limits);
  }
  StepState progress() const override { return update_->state(); }
  void set_progress(const StepState& progress) override { update_->set_state(progress); }

 private:
  FusedUpdate::Rule rule_;
  std::optional<FusedUpdate> update_;  // of the moments, once there are some
};

bool on_gpu(const Parameters& parameters) {
  return !parameters.empty() && parameters.front().variable.device().is_cuda();
}

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config,
                                          const Parameters& parameters) {
  if (on_gpu(parameters)) {
    return std::make_unique<GpuOptimizer>(config, parameters);
  }
  if (config.type == OptimizerType::sgd) {
    return std::make_unique<Sgd>(config, parameters);
  }
  return std::make_unique<AdamFamily>(config, parameters);
}

double grad_norm(const Parameters& parameters) {
  if (on_gpu(parameters)) {
    return FusedUpdate(updated(parameters, {})).grad_norm().item();
  }
  double total = 0.0;
  for (const NamedVariable& p : parameters) {
    const Tensor& grad = p.variable.grad();
    if (grad.defined()) {
      dispatch_compute(grad.dtype(), "grad_norm", [&]<typename T>(Type<T>) {
        const T* g = grad.data<T>();
        total += cpu::sum(grad.numel(), [g](std::int64_t i) {
          return static_cast<double>(g[i]) * static_cast<double>(g[i]);
        });
      });
    }
  }
  return std::sqrt(total);
}

void zero_grads(const Parameters& parameters) {
  for (NamedVariable p : parameters) {
    p.variable.zero_grad();
  }
}

bool all_finite(const Parameters& parameters) {
  return std::all_of(parameters.begin(), parameters.end(), [](const NamedVariable& p) {
    const Tensor value = p.variable.value().to(Device::cpu());
    return dispatch_compute(value.dtype(), "all_finite", [&]<typename T>(Type<T>) {
      const auto values = value.values<T>();
      return std::all_of(values.begin(), values.end(), [](T x) { return std::isfinite(x); });
    });
  });
}

}  // namespace rondo
