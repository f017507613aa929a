// The rows of ops/cpu/lstm.h on vectors. What they read comes from the product just before, and is
// mostly still in cache.
#include "ops/cpu/lstm.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/lstm_simd.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::cpu::HWY_NAMESPACE {

#include "core/scalar/lstm_step.inc"

// Runs `body(load, store)` over whole vectors, then over a last partial one, whose units are copied
// to and from a vector-sized buffer: every unit sees the same arithmetic.
template <typename Body>
HWY_INLINE void for_each_vector(std::int64_t n, const Body& body) {
  const auto width = static_cast<std::int64_t>(hn::Lanes(FloatTag()));
  std::int64_t i = 0;
  for (; i + width <= n; i += width) {
    body([i](const float* p) HWY_ATTR { return Lanes::load(p + i); },
         [i](float* p, Lanes value) HWY_ATTR { value.store(p + i); });
  }
  if (i < n) {
    const auto rest = static_cast<std::size_t>(n - i);
    const auto load = [i, rest](const float* p) HWY_ATTR {
      HWY_ALIGN float buffer[hn::MaxLanes(FloatTag())] = {};
      std::copy_n(p + i, rest, buffer);
      return Lanes::load(buffer);
    };
    const auto store = [i, rest](float* p, Lanes value) HWY_ATTR {
      HWY_ALIGN float buffer[hn::MaxLanes(FloatTag())];
      value.store(buffer);
      std::copy_n(buffer, rest, p + i);
    };
    body(load, store);
  }
}

// The four values that are `plane` elements apart.
template <typename Load>
HWY_INLINE LstmGates<Lanes> load_gates(const float* planes, std::int64_t plane, const Load& load) {
  return {load(planes), load(planes + plane), load(planes + 2 * plane), load(planes + 3 * plane)};
}

template <typename Store>
HWY_INLINE void store_gates(const LstmGates<Lanes>& gates, float* planes, std::int64_t plane,
                            const Store& store) {
  store(planes, gates.input);
  store(planes + plane, gates.forget);
  store(planes + 2 * plane, gates.cell);
  store(planes + 3 * plane, gates.output);
}

void ForwardRow(const LstmForwardRow<float>& row, std::int64_t n) {
  for_each_vector(n, [&row](const auto& load, const auto& store) HWY_ATTR {
    const auto gates =
        lstm_activate(load_gates(row.raw, row.plane, load) + load_gates(row.bias, row.plane, load));
    const auto out = lstm_forward_step(gates, load(row.c));
    if (row.gates != nullptr) {
      store_gates(gates, row.gates, row.plane, store);
    }
    store(row.c, out.c);
    if (row.c_kept != nullptr) {
      store(row.c_kept, out.c);
    }
    store(row.h, out.h);
  });
}

void BackwardRow(const LstmBackwardRow<float>& row, std::int64_t n) {
  for_each_vector(n, [&row](const auto& load, const auto& store) HWY_ATTR {
    Lanes grad_h = load(row.grad_h);
    if (row.grad_recurrent != nullptr) {
      grad_h = grad_h + load(row.grad_recurrent);
    }
    const auto grad = lstm_backward_step(load_gates(row.gates, row.plane, load),
                                         load(row.c_previous), grad_h, load(row.grad_c));
    store_gates(grad.raw, row.gates, row.plane, store);
    store(row.grad_c, grad.c_previous);
  });
}

}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::cpu {

HWY_EXPORT(ForwardRow);
HWY_EXPORT(BackwardRow);

void lstm_forward_row(const LstmForwardRow<float>& row, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(ForwardRow)(row, n);
}

void lstm_backward_row(const LstmBackwardRow<float>& row, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(BackwardRow)(row, n);
}

}  // namespace rondo::cpu
#endif
