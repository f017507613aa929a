#include "trainers/optimizer.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "core/reduce.h"
#include "core/scalar/optimizer_step.h"
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

class AdamFamily final : public Optimizer {
 public:
  AdamFamily(const OptimizerConfig& config, const Parameters& parameters)
      : config_(config), parameters_(parameters) {
    for (const char* moment : {"m", "v"}) {
      for (const NamedVariable& p : parameters_) {
        state_.push_back(
            {fmt::format("{}.{}", moment, p.name),
             Tensor::zeros(p.variable.shape(), p.variable.dtype(), p.variable.device())});
      }
    }
  }

  void step(double lr, double grad_scale) override {
    ++steps_;
    const AdamStep<double> s = constants(lr, grad_scale);
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      Variable& parameter = parameters_[i].variable;
      adam_update(s, gradient_or_zeros(parameter), parameter.value(), state_[i].tensor,
                  state_[parameters_.size() + i].tensor);
    }
  }

 private:
  AdamStep<double> constants(double lr, double grad_scale) const {
    const auto t = static_cast<double>(steps_);
    const double beta1_t = std::pow(config_.beta1, t);
    const double beta2_t = std::pow(config_.beta2, t);
    const bool decoupled = config_.type != OptimizerType::adam;
    AdamStep<double> s{};
    s.beta1 = config_.beta1;
    s.beta2 = config_.beta2;
    s.rest1 = 1.0 - config_.beta1;
    s.rest2 = 1.0 - config_.beta2;
    s.eps = config_.eps;
    s.decay = decoupled ? 1.0 - lr * config_.weight_decay : 1.0;
    s.added_decay = decoupled ? 0.0 : config_.weight_decay;
    s.grad_scale = grad_scale;
    s.update = true;
    s.step_size = lr / (1.0 - beta1_t);
    s.variance_scale = 1.0 / std::sqrt(1.0 - beta2_t);
    if (config_.type == OptimizerType::radam) {
      const double rho_max = 2.0 / (1.0 - config_.beta2) - 1.0;
      const double rho = rho_max - 2.0 * t * beta2_t / (1.0 - beta2_t);
      s.update = rho >= 5.0;
      if (s.update) {
        s.step_size *= std::sqrt((1.0 - beta2_t) * (rho - 4.0) / (rho_max - 4.0) * (rho - 2.0) /
                                 rho * rho_max / (rho_max - 2.0));
        s.variance_scale = 1.0;  // the bias correction stands in the factor above
      }
    }
    return s;
  }

  OptimizerConfig config_;
  Parameters parameters_;
};

class Sgd final : public Optimizer {
 public:
  Sgd(const OptimizerConfig& config, const Parameters& parameters)
      : config_(config), parameters_(parameters) {
    for (const NamedVariable& p : parameters_) {
      state_.push_back(
          {fmt::format("velocity.{}", p.name),
           Tensor::zeros(p.variable.shape(), p.variable.dtype(), p.variable.device())});
    }
  }

  void step(double lr, double grad_scale) override {
    ++steps_;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      Variable& parameter = parameters_[i].variable;
      require_cpu("optimizer", parameter.device());
      const Tensor grad = gradient_or_zeros(parameter);
      dispatch_compute(parameter.dtype(), "optimizer", [&]<typename T>(Type<T>) {
        const SgdStep<T> s{static_cast<T>(lr), static_cast<T>(config_.momentum),
                           static_cast<T>(config_.weight_decay), static_cast<T>(grad_scale)};
        const T* g = grad.data<T>();
        T* p = parameter.value().data<T>();
        T* velocity = state_[i].tensor.data<T>();
        for_each_element(grad.numel(),
                         [&](std::int64_t j) { sgd_step(s, g[j], p[j], velocity[j]); });
      });
    }
  }

 private:
  OptimizerConfig config_;
  Parameters parameters_;
};

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const OptimizerConfig& config,
                                          const Parameters& parameters) {
  if (config.type == OptimizerType::sgd) {
    return std::make_unique<Sgd>(config, parameters);
  }
  return std::make_unique<AdamFamily>(config, parameters);
}

double grad_norm(const Parameters& parameters) {
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

double clip_factor(double norm, double max_norm) {
  return max_norm > 0.0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

void zero_grads(const Parameters& parameters) {
  for (NamedVariable p : parameters) {
    p.variable.zero_grad();
  }
}

bool all_finite(const Parameters& parameters) {
  return std::all_of(parameters.begin(), parameters.end(), [](const NamedVariable& p) {
    return dispatch_compute(p.variable.dtype(), "all_finite", [&]<typename T>(Type<T>) {
      const auto values = p.variable.value().values<T>();
      return std::all_of(values.begin(), values.end(),
                         [](T value) { return std::isfinite(value); });
    });
  });
}

}  // namespace rondo
