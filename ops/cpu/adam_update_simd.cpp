#include <algorithm>

#include "ops/cpu/adam_update.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/adam_update_simd.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::cpu::HWY_NAMESPACE {

#include "core/scalar/adam_step.inc"

// A last partial vector goes through buffers: every element sees the same arithmetic.
void AdamUpdate(const rondo::AdamStep<float>& step, std::int64_t n, const float* grad,
                float* parameter, float* m, float* v) {
  const auto all = [](float x) HWY_ATTR { return Lanes::set(x); };
  const AdamStep<Lanes> s{all(step.beta1),          all(step.beta2), all(step.rest1),
                          all(step.rest2),          all(step.eps),   all(step.step_size),
                          all(step.variance_scale), all(step.decay), all(step.added_decay),
                          all(step.grad_scale),     step.update};
  const auto one_vector = [&s](const float* g, float* p, float* m1, float* v1) HWY_ATTR {
    Lanes parameters = Lanes::load(p);
    Lanes first = Lanes::load(m1);
    Lanes second = Lanes::load(v1);
    adam_step(s, Lanes::load(g), parameters, first, second);
    parameters.store(p);
    first.store(m1);
    second.store(v1);
  };
  const auto width = static_cast<std::int64_t>(hn::Lanes(FloatTag()));
  std::int64_t i = 0;
  for (; i + width <= n; i += width) {
    one_vector(grad + i, parameter + i, m + i, v + i);
  }
  if (i < n) {
    constexpr std::size_t kMost = hn::MaxLanes(FloatTag());
    HWY_ALIGN float rest[4][kMost] = {};
    float* const from[] = {parameter + i, m + i, v + i};
    std::copy_n(grad + i, n - i, rest[3]);
    for (int j = 0; j < 3; ++j) {
      std::copy_n(from[j], n - i, rest[j]);
    }
    one_vector(rest[3], rest[0], rest[1], rest[2]);
    for (int j = 0; j < 3; ++j) {
      std::copy_n(rest[j], n - i, from[j]);
    }
  }
}

}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::cpu {

HWY_EXPORT(AdamUpdate);

void adam_update(const AdamStep<float>& step, std::int64_t n, const float* grad, float* parameter,
                 float* m, float* v) {
  HWY_DYNAMIC_DISPATCH(AdamUpdate)(step, n, grad, parameter, m, v);
}

void adam_update(const AdamStep<double>& step, std::int64_t n, const double* grad,
                 double* parameter, double* m, double* v) {
  adam_update_plain(step, n, grad, parameter, m, v);
}

}  // namespace rondo::cpu
#endif
