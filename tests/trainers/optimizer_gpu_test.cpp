// Optimizer steps on a GPU beside those on the CPU.
#include <cmath>
#include <limits>

#include "tests/support/testing.h"
#include "trainers/optimizer.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

OptimizerConfig config_of(OptimizerType type) {
  OptimizerConfig config;
  config.type = type;
  config.beta1 = 0.8;
  config.beta2 = 0.99;
  config.eps = 1e-3;
  config.weight_decay = 0.05;
  config.momentum = type == OptimizerType::sgd ? 0.9 : 0.0;
  return config;
}

constexpr OptimizerType kTypes[] = {OptimizerType::radam, OptimizerType::adam, OptimizerType::adamw,
                                    OptimizerType::sgd};

// The same parameters on the CPU and on the GPU: of one element and of three chunks, odd sizes,
// more of them than fit one launch's arguments, and some that do not start at an address a vector
// could be loaded from.
struct Twins {
  Parameters cpu;
  Parameters gpu;

  explicit Twins(DType dtype) {
    Generator generator(7);
    std::vector<std::int64_t> sizes = {1, 3, 4, 5, 255, 1023, 1024, 1025, 4095, 4096, 4097, 9001};
    for (std::int64_t i = 0; i < 300; ++i) {
      sizes.push_back(1 + i % 7);
    }
    for (const std::int64_t size : sizes) {
      const bool offset = cpu.size() % 3 == 1;
      Tensor value = random_tensor({size}, dtype, generator, -1.0, 1.0, offset);
      const std::string name = fmt::format("p{}", cpu.size());
      cpu.push_back({name, Variable(on_cpu(value).clone(), true)});
      gpu.push_back({name, Variable(value, true)});
    }
  }

  // Gradients of a step, some of them missing.
  void set_gradients(std::int64_t step) {
    Generator generator(static_cast<std::uint64_t>(step) + 100);
    for (std::size_t i = 0; i < cpu.size(); ++i) {
      if ((static_cast<std::int64_t>(i) + step) % 11 == 5) {
        cpu[i].variable.zero_grad();
        gpu[i].variable.zero_grad();
        continue;
      }
      const Tensor grad = random_tensor(cpu[i].variable.shape(), cpu[i].variable.dtype(), generator,
                                        -1.0, 1.0, i % 4 == 2);
      cpu[i].variable.grad() = on_cpu(grad);
      gpu[i].variable.grad() = grad;
    }
  }
};

double worst_error(const Parameters& a, const Parameters& b) {
  double worst = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, max_relative_error(a[i].variable.value(), b[i].variable.value()));
  }
  return worst;
}

double worst_error(const Optimizer& a, const Optimizer& b) {
  REQUIRE(a.state().size() == b.state().size());
  double worst = 0.0;
  for (std::size_t i = 0; i < a.state().size(); ++i) {
    REQUIRE(a.state()[i].name == b.state()[i].name);
    worst = std::max(worst, max_relative_error(a.state()[i].tensor, b.state()[i].tensor));
  }
  return worst;
}

std::vector<Tensor> copies_of(const Parameters& parameters, const Optimizer& optimizer) {
  std::vector<Tensor> all;
  for (const NamedVariable& p : parameters) {
    all.push_back(on_cpu(p.variable.value()).clone());
  }
  for (const NamedTensor& moment : optimizer.state()) {
    all.push_back(on_cpu(moment.tensor).clone());
  }
  return all;
}

void require_same(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    REQUIRE(same_bits(a[i], b[i]));
  }
}

Tensor scalar(double value) { return Tensor::full({1}, value, DType::f64, test_device()); }

}  // namespace

TEST_CASE("optimizer steps on a GPU are those of the CPU", "[trainers][optimizer][gpu]") {
  for (const auto& [dtype, tolerance] : {std::pair(DType::f32, 2e-6), {DType::f64, 1e-13}}) {
    for (const OptimizerType type : kTypes) {
      INFO(name(dtype) << ", optimizer " << static_cast<int>(type));
      Twins twins(dtype);
      const auto cpu = make_optimizer(config_of(type), twins.cpu);
      const auto gpu = make_optimizer(config_of(type), twins.gpu);
      for (std::int64_t step = 1; step <= 9; ++step) {
        INFO("step " << step);
        twins.set_gradients(step);
        const double norm = grad_norm(twins.cpu);
        REQUIRE(grad_norm(twins.gpu) == Approx(norm).epsilon(1e-12));
        const Tensor gpu_norm = gpu->grad_norm();
        REQUIRE(gpu_norm.item() == Approx(norm).epsilon(1e-12));
        if (step % 3 == 0) {  // with a factor given
          cpu->step(0.01, 0.5);
          gpu->step(0.01, 0.5);
        } else {  // clipped, or not
          const double most = step % 2 == 0 ? 0.7 : 0.0;
          cpu->checked_step(0.01, {Tensor::full({1}, 2.0, DType::f64), cpu->grad_norm(), most});
          gpu->checked_step(0.01, {scalar(2.0), gpu_norm, most});
        }
        REQUIRE(gpu->steps() == step);
        REQUIRE(worst_error(twins.gpu, twins.cpu) < tolerance);
        REQUIRE(worst_error(*gpu, *cpu) < tolerance);
      }
    }
  }
}

TEST_CASE("the norm on a GPU does not depend on addresses", "[trainers][optimizer][gpu]") {
  Generator generator(3);
  const Tensor plain = random_tensor({10007}, DType::f32, generator);
  Tensor shifted = Tensor::empty({10008}, DType::f32, test_device()).narrow(1, 10007);
  shifted.copy_from(plain);
  std::vector<double> norms;
  for (const Tensor& grad : {plain, shifted, plain}) {
    Parameters parameters = {{"p", Variable(plain.clone(), true)}};
    parameters[0].variable.grad() = grad;
    norms.push_back(grad_norm(parameters));
  }
  REQUIRE(norms[0] == norms[1]);
  REQUIRE(norms[0] == norms[2]);
  // Squares that a float cannot hold.
  Parameters large = {{"p", Variable(Tensor::zeros({2}, DType::f32, test_device()), true)}};
  large[0].variable.grad() = on_test_device(Tensor::from(std::vector<float>{3e30F, 4e30F}, {2}));
  REQUIRE(grad_norm(large) == Approx(5e30));
}

TEST_CASE("a step that must not be taken changes nothing on a GPU", "[trainers][optimizer][gpu]") {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const OptimizerType type : kTypes) {
    INFO("optimizer " << static_cast<int>(type));
    Twins twins(DType::f32);
    const auto gpu = make_optimizer(config_of(type), twins.gpu);
    for (std::int64_t step = 1; step <= 6; ++step) {
      twins.set_gradients(step);
      gpu->checked_step(0.01, {scalar(2.0), gpu->grad_norm(), 1.0});
    }
    const auto before = copies_of(twins.gpu, *gpu);
    // One element in all, in the last chunk of its parameter.
    twins.set_gradients(7);
    Tensor grad = twins.gpu[11].variable.grad();
    REQUIRE(grad.numel() == 9001);
    grad.narrow(9000, 1).fill(infinity);
    const Tensor norm = gpu->grad_norm();
    REQUIRE(norm.item() == infinity);
    gpu->checked_step(0.01, {scalar(2.0), norm, 1.0});
    twins.set_gradients(8);
    gpu->checked_step(0.01, {scalar(2.0), gpu->grad_norm(), 1.0});  // nor any after it
    require_same(copies_of(twins.gpu, *gpu), before);
    const StepState state = gpu->progress();
    REQUIRE(state.steps == 6);
    REQUIRE(state.failed_check == 7);
    REQUIRE(state.failed_loss == 2.0);
    REQUIRE(state.failed_norm == infinity);
  }
}

TEST_CASE("the loss scale adapts itself on a GPU", "[trainers][optimizer][gpu]") {
  const double infinity = std::numeric_limits<double>::infinity();
  Twins twins(DType::f32);
  Twins plain(DType::f32);
  const auto scaled = make_optimizer(config_of(OptimizerType::adamw), twins.gpu);
  const auto expected = make_optimizer(config_of(OptimizerType::adamw), plain.gpu);
  StepState start;
  start.loss_scale = 1024.0;
  scaled->set_progress(start);
  REQUIRE(scaled->loss_gradient(0.5).item() == 512.0);
  REQUIRE(expected->loss_gradient(0.5).item() == 0.5);

  for (std::int64_t step = 1; step <= 4; ++step) {
    twins.set_gradients(step);
    plain.set_gradients(step);
    if (step == 2) {  // this one overflows, and is left out
      const auto before = copies_of(twins.gpu, *scaled);
      twins.gpu[4].variable.grad().narrow(254, 1).fill(infinity);
      scaled->checked_step(0.01, {scalar(2.0), scaled->grad_norm(), 1.0, true});
      require_same(copies_of(twins.gpu, *scaled), before);
      REQUIRE(scaled->progress().loss_scale == 512.0);
      REQUIRE(scaled->progress().skipped == 1);
      REQUIRE(scaled->loss_gradient(1.0).item() == 512.0);
      continue;
    }
    const double factor = scaled->progress().loss_scale;
    for (NamedVariable& p : twins.gpu) {
      if (p.variable.grad().defined()) {
        Tensor grad = on_cpu(p.variable.grad()).clone();
        for (float& g : grad.values<float>()) {
          g *= static_cast<float>(factor);
        }
        p.variable.grad() = on_test_device(grad);
      }
    }
    const Tensor norm = scaled->grad_norm();
    REQUIRE(norm.item() == expected->grad_norm().item());  // powers of two change no digit
    scaled->checked_step(0.01, {scalar(2.0), norm, 1.0, true});
    expected->checked_step(0.01, {scalar(2.0), expected->grad_norm(), 1.0});
    require_same(copies_of(twins.gpu, *scaled), copies_of(plain.gpu, *expected));
  }
  REQUIRE(scaled->steps() == 3);
  REQUIRE(scaled->progress().good_steps == 2);
}

TEST_CASE("an optimizer on a GPU says what does not fit", "[trainers][optimizer][gpu]") {
  Parameters mixed = {{"a", Variable(Tensor::zeros({3}, DType::f32, test_device()), true)},
                      {"b", Variable(Tensor::zeros({3}, DType::f64, test_device()), true)}};
  REQUIRE_THAT(error_of([&] { make_optimizer({}, mixed); }),
               ContainsSubstring("[optimizer] a parameter is f64"));
  Parameters parameters = {mixed[0]};
  const auto optimizer = make_optimizer({}, parameters);
  parameters[0].variable.grad() = Tensor::zeros({3});
  REQUIRE_THAT(error_of([&] { optimizer->step(0.1); }),
               ContainsSubstring("a gradient is f32 on cpu"));
}
