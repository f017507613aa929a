#include "trainers/optimizer.h"

#include <cmath>
#include <functional>
#include <limits>

#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

using Values = std::vector<double>;

OptimizerConfig config_of(OptimizerType type) {
  OptimizerConfig config;
  config.type = type;
  config.beta1 = 0.8;
  config.beta2 = 0.99;
  config.eps = 1e-3;  // large enough to see where it is added
  config.weight_decay = 0.05;
  return config;
}

Parameters random_parameters(DType dtype = DType::f64) {
  Generator generator(7);
  return {{"a", random_parameter({3, 5}, dtype, generator)},
          {"b", random_parameter({7}, dtype, generator)}};
}

Values values_of(const Tensor& tensor) {
  const Tensor wide = on_cpu(tensor).to(DType::f64);
  return {wide.values<double>().begin(), wide.values<double>().end()};
}

Values values_of(const Parameters& parameters) {
  Values all;
  for (const NamedVariable& parameter : parameters) {
    const Values some = values_of(parameter.variable.value());
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

// The same gradients for the same step, of another size in each step.
void set_gradients(Parameters& parameters, std::int64_t step) {
  Generator generator(static_cast<std::uint64_t>(step) + 100);
  const double size = 1.0 + 0.5 * std::sin(static_cast<double>(step));
  for (NamedVariable& parameter : parameters) {
    parameter.variable.grad() = random_tensor(parameter.variable.shape(),
                                              parameter.variable.dtype(), generator, -size, size);
  }
}

Values gradients_of(const Parameters& parameters) {
  Values all;
  for (const NamedVariable& parameter : parameters) {
    const Values some = values_of(parameter.variable.grad());
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

double worst_difference(const Values& a, const Values& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(a[i] - b[i]);
    if (!(difference <= worst)) {
      worst = difference;  // a NaN sticks
    }
  }
  return worst;
}

// Moves one element in step t, from 1: (t, g, p, m, v).
using Rule = std::function<void(double, double, double&, double&, double&)>;

// REQUIREs that `steps` steps of the optimizer and of the rule, in double, go the same way.
void require_rule(const OptimizerConfig& config, double lr, int steps, const Rule& rule) {
  for (const auto& [dtype, tolerance] : {std::pair(DType::f64, 1e-13), {DType::f32, 2e-6}}) {
    Parameters parameters = random_parameters(dtype);
    const auto optimizer = make_optimizer(config, parameters);
    Values p = values_of(parameters);
    Values m(p.size());
    Values v(p.size());
    for (int t = 1; t <= steps; ++t) {
      INFO(name(dtype) << ", step " << t);
      set_gradients(parameters, t);
      const Values g = gradients_of(parameters);
      optimizer->step(lr);
      for (std::size_t i = 0; i < p.size(); ++i) {
        rule(t, g[i], p[i], m[i], v[i]);
      }
      REQUIRE(optimizer->steps() == t);
      REQUIRE(worst_difference(values_of(parameters), p) < tolerance);
    }
  }
}

}  // namespace

TEST_CASE("RAdam rectifies the variance as the reference does", "[trainers][optimizer]") {
  OptimizerConfig config = config_of(OptimizerType::radam);
  const double lr = 0.01;
  for (const double beta2 : {0.99, 0.999}) {
    config.beta2 = beta2;
    require_rule(config, lr, 60, [&](double t, double g, double& p, double& m, double& v) {
      m = config.beta1 * m + (1 - config.beta1) * g;
      v = beta2 * v + (1 - beta2) * g * g;
      const double power = std::pow(beta2, t);
      const double longest = 2 / (1 - beta2) - 1;
      const double length = longest - 2 * t * power / (1 - power);
      if (length < 5) {
        return;
      }
      const double rectification =
          std::sqrt((length - 4) / (longest - 4) * (length - 2) / (longest - 2) * longest / length);
      const double rate =
          lr * rectification * std::sqrt(1 - power) / (1 - std::pow(config.beta1, t));
      p -= lr * config.weight_decay * p;
      p -= rate * m / (std::sqrt(v) + config.eps);
    });
  }
}

TEST_CASE("RAdam's first steps move the moments only", "[trainers][optimizer]") {
  OptimizerConfig config;  // the defaults: those of the paper's models
  Parameters parameters = random_parameters();
  const auto optimizer = make_optimizer(config, parameters);
  const Values start = values_of(parameters);
  for (int step = 1; step <= 5; ++step) {
    set_gradients(parameters, step);
    std::vector<Values> before;
    for (const NamedTensor& moment : optimizer->state()) {
      before.push_back(values_of(moment.tensor));
    }
    optimizer->step(0.1);
    REQUIRE(values_of(parameters) == start);  // weight decay waits as well
    for (std::size_t i = 0; i < before.size(); ++i) {
      INFO("step " << step << ", " << optimizer->state()[i].name);
      REQUIRE(values_of(optimizer->state()[i].tensor) != before[i]);
    }
  }
  set_gradients(parameters, 6);
  optimizer->step(0.1);
  for (std::size_t i = 0; i < start.size(); ++i) {
    REQUIRE(values_of(parameters)[i] != start[i]);
  }
}

TEST_CASE("Adam adds weight decay to the gradient", "[trainers][optimizer]") {
  const OptimizerConfig config = config_of(OptimizerType::adam);
  const double lr = 0.01;
  require_rule(config, lr, 20, [&](double t, double g, double& p, double& m, double& v) {
    g += config.weight_decay * p;
    m = config.beta1 * m + (1 - config.beta1) * g;
    v = config.beta2 * v + (1 - config.beta2) * g * g;
    const double m_hat = m / (1 - std::pow(config.beta1, t));
    const double v_hat = v / (1 - std::pow(config.beta2, t));
    p -= lr * m_hat / (std::sqrt(v_hat) + config.eps);
  });
}

TEST_CASE("AdamW keeps weight decay out of the moments", "[trainers][optimizer]") {
  const OptimizerConfig config = config_of(OptimizerType::adamw);
  const double lr = 0.01;
  require_rule(config, lr, 20, [&](double t, double g, double& p, double& m, double& v) {
    m = config.beta1 * m + (1 - config.beta1) * g;
    v = config.beta2 * v + (1 - config.beta2) * g * g;
    const double m_hat = m / (1 - std::pow(config.beta1, t));
    const double v_hat = v / (1 - std::pow(config.beta2, t));
    p -= lr * config.weight_decay * p;
    p -= lr * m_hat / (std::sqrt(v_hat) + config.eps);
  });
}

TEST_CASE("SGD gathers momentum", "[trainers][optimizer]") {
  OptimizerConfig config = config_of(OptimizerType::sgd);
  const double lr = 0.02;
  for (const double momentum : {0.0, 0.9}) {
    config.momentum = momentum;
    require_rule(config, lr, 20, [&](double, double g, double& p, double& velocity, double&) {
      velocity = momentum * velocity + g + config.weight_decay * p;
      p -= lr * velocity;
    });
  }
}

TEST_CASE("grad_scale multiplies the gradient but not the decay", "[trainers][optimizer]") {
  for (const OptimizerType type :
       {OptimizerType::radam, OptimizerType::adam, OptimizerType::adamw, OptimizerType::sgd}) {
    INFO("optimizer " << static_cast<int>(type));
    Parameters scaled = random_parameters();
    Parameters plain = random_parameters();
    const auto scaling = make_optimizer(config_of(type), scaled);
    const auto scaled_before = make_optimizer(config_of(type), plain);
    for (int step = 1; step <= 10; ++step) {
      set_gradients(scaled, step);
      set_gradients(plain, step);
      for (NamedVariable& parameter : plain) {
        Tensor quarter = on_cpu(parameter.variable.grad()).clone();
        for (double& g : quarter.values<double>()) {
          g *= 0.25;
        }
        parameter.variable.grad() = on_test_device(quarter);
      }
      scaling->step(0.01, 0.25);
      scaled_before->step(0.01);
    }
    REQUIRE(values_of(scaled) == values_of(plain));
  }
}

TEST_CASE("a parameter without a gradient has gradient zero", "[trainers][optimizer]") {
  for (const OptimizerType type :
       {OptimizerType::radam, OptimizerType::adam, OptimizerType::adamw, OptimizerType::sgd}) {
    INFO("optimizer " << static_cast<int>(type));
    OptimizerConfig config = config_of(type);
    config.momentum = type == OptimizerType::sgd ? 0.9 : 0.0;
    Parameters without = random_parameters();
    Parameters zero = random_parameters();
    const auto optimizer = make_optimizer(config, without);
    const auto expected = make_optimizer(config, zero);
    for (int step = 1; step <= 10; ++step) {
      set_gradients(without, step);
      set_gradients(zero, step);
      if (step > 7) {
        without[1].variable.zero_grad();
        zero[1].variable.grad().fill(0.0);
      }
      const Values before = values_of(without[1].variable.value());
      optimizer->step(0.01);
      expected->step(0.01);
      REQUIRE(values_of(without) == values_of(zero));
      // What the moments hold still moves it.
      REQUIRE((step <= 7 || values_of(without[1].variable.value()) != before));
    }
    REQUIRE_FALSE(without[1].variable.grad().defined());
  }
}

TEST_CASE("state and steps restore an optimizer", "[trainers][optimizer]") {
  for (const OptimizerType type :
       {OptimizerType::radam, OptimizerType::adam, OptimizerType::adamw, OptimizerType::sgd}) {
    INFO("optimizer " << static_cast<int>(type));
    OptimizerConfig config = config_of(type);
    config.momentum = type == OptimizerType::sgd ? 0.9 : 0.0;
    Parameters parameters = random_parameters(DType::f32);
    const auto optimizer = make_optimizer(config, parameters);
    for (int step = 1; step <= 7; ++step) {
      set_gradients(parameters, step);
      optimizer->step(0.01);
    }
    Parameters restored = random_parameters(DType::f32);
    const auto again = make_optimizer(config, restored);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      restored[i].variable.value().copy_from(parameters[i].variable.value());
    }
    REQUIRE(again->state().size() == optimizer->state().size());
    for (std::size_t i = 0; i < again->state().size(); ++i) {
      REQUIRE(again->state()[i].name == optimizer->state()[i].name);
      Tensor moment = again->state()[i].tensor;
      moment.copy_from(optimizer->state()[i].tensor);
    }
    again->set_progress(optimizer->progress());
    for (int step = 8; step <= 12; ++step) {
      set_gradients(parameters, step);
      set_gradients(restored, step);
      optimizer->step(0.01);
      again->step(0.01);
    }
    REQUIRE(values_of(restored) == values_of(parameters));
  }
}

TEST_CASE("the state has one tensor a moment and parameter", "[trainers][optimizer]") {
  const auto names_of = [](OptimizerType type) {
    const auto optimizer = make_optimizer(config_of(type), random_parameters());
    std::vector<std::string> names;
    for (const NamedTensor& moment : optimizer->state()) {
      names.push_back(moment.name);
    }
    return names;
  };
  using Names = std::vector<std::string>;
  REQUIRE(names_of(OptimizerType::radam) == Names{"m.a", "m.b", "v.a", "v.b"});
  REQUIRE(names_of(OptimizerType::sgd) == Names{"velocity.a", "velocity.b"});
}

TEST_CASE("threads change no bit of a step or a norm", "[trainers][optimizer][cpu]") {
  // Large enough to be split, at places that are no multiple of anything.
  const auto large = [] {
    Generator generator(3);
    return Parameters{{"a", random_parameter({333, 401}, DType::f32, generator)},
                      {"b", random_parameter({100'003}, DType::f32, generator)}};
  };
  std::vector<double> norms;
  std::vector<Values> results;
  for_thread_counts([&] {
    Parameters parameters = large();
    const auto optimizer = make_optimizer(config_of(OptimizerType::adamw), parameters);
    set_gradients(parameters, 1);
    norms.push_back(grad_norm(parameters));
    optimizer->step(0.01);
    results.push_back(values_of(parameters));
  });
  REQUIRE(norms[0] == norms[1]);
  REQUIRE(results[0] == results[1]);

  Parameters parameters = large();
  set_gradients(parameters, 1);
  double squares = 0.0;
  for (const double g : gradients_of(parameters)) {
    squares += g * g;
  }
  REQUIRE(norms[0] == Approx(std::sqrt(squares)).epsilon(1e-12));
}

TEST_CASE("grad_norm is over all gradients there are", "[trainers][optimizer][cpu]") {
  Parameters parameters = {{"a", Variable(Tensor::zeros({2}), true)},
                           {"b", Variable(Tensor::zeros({1, 2}, DType::f64), true)},
                           {"c", Variable(Tensor::zeros({9}), true)}};
  REQUIRE(grad_norm(parameters) == 0.0);
  REQUIRE(grad_norm({}) == 0.0);
  parameters[0].variable.grad() = Tensor::from(std::vector<float>{1, -2}, {2});
  parameters[1].variable.grad() = Tensor::from(std::vector<double>{-4, 10}, {1, 2});
  REQUIRE(grad_norm(parameters) == 11.0);
  // Squares that a float cannot hold.
  parameters[0].variable.grad() = Tensor::from(std::vector<float>{3e30F, 4e30F}, {2});
  REQUIRE(grad_norm(parameters) == Approx(5e30));
  parameters[1].variable.grad().fill(std::numeric_limits<double>::quiet_NaN());
  REQUIRE(std::isnan(grad_norm(parameters)));
  parameters[1].variable.grad().fill(-std::numeric_limits<double>::infinity());
  REQUIRE(std::isinf(grad_norm(parameters)));

  zero_grads(parameters);
  for (const NamedVariable& parameter : parameters) {
    REQUIRE_FALSE(parameter.variable.grad().defined());
  }
}

TEST_CASE("clip_factor brings a long gradient to the limit", "[trainers][optimizer]") {
  REQUIRE(clip_factor(0.0, 1.0) == 1.0);
  REQUIRE(clip_factor(0.5, 1.0) == 1.0);
  REQUIRE(clip_factor(2.0, 1.0) == 1.0 / (2.0 + 1e-6));
  REQUIRE(clip_factor(1.0, 1.0) == 1.0 / (1.0 + 1e-6));
  REQUIRE(clip_factor(8.0, 0.25) == 0.25 / (8.0 + 1e-6));
  REQUIRE(clip_factor(1e9, 0.0) == 1.0);  // no limit
}

TEST_CASE("all_finite finds a single bad element", "[trainers][optimizer]") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Parameters parameters = random_parameters(dtype);
    REQUIRE(all_finite(parameters));
    REQUIRE(all_finite({}));
    for (const double bad :
         {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
          -std::numeric_limits<double>::infinity()}) {
      for (NamedVariable& parameter : parameters) {
        Tensor last = parameter.variable.value();
        last = last.reshape({last.numel()}).narrow(last.numel() - 1, 1);
        last.fill(bad);
        REQUIRE_FALSE(all_finite(parameters));
        last.fill(1.0);
        REQUIRE(all_finite(parameters));
      }
    }
  }
}
