// The rows of ops/cpu/sru_scan.h on vectors. Per unit and step, forward reads u0, u1, u2, x and c
// and writes h and c (28 bytes); backward reads those five, the gradients of h and c, and writes
// five gradients (48 bytes). Sums over time stay in cache. Gates are computed again rather than
// stored.
#include "ops/cpu/sru_scan.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/sru_scan_simd.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "ops/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::cpu::HWY_NAMESPACE {

#include "core/scalar/sru_step.inc"

// Runs `body(load, store, write)` over whole vectors, then over a last partial one, whose units are
// copied to and from a vector-sized buffer: every unit sees the same arithmetic. `store` is for
// what is read again soon, `write` for results, past the cache when `streaming`.
template <bool streaming, typename Body>
HWY_INLINE void for_each_vector(std::int64_t n, const Body& body) {
  const auto width = static_cast<std::int64_t>(hn::Lanes(FloatTag()));
  std::int64_t i = 0;
  for (; i + width <= n; i += width) {
    const auto store = [i](float* p, Lanes value) HWY_ATTR { value.store(p + i); };
    const auto write = [i](float* p, Lanes value) HWY_ATTR {
      if constexpr (streaming) {
        hn::Stream(value.v, FloatTag(), p + i);
      } else {
        value.store(p + i);
      }
    };
    body([i](const float* p) HWY_ATTR { return Lanes::load(p + i); }, store, write);
  }
  if (i < n) {
    const auto rest = static_cast<std::size_t>(n - i);
    const auto store = [i, rest](float* p, Lanes value) HWY_ATTR {
      HWY_ALIGN float buffer[hn::MaxLanes(FloatTag())];
      value.store(buffer);
      std::copy_n(buffer, rest, p + i);
    };
    const auto load = [i, rest](const float* p) HWY_ATTR {
      HWY_ALIGN float buffer[hn::MaxLanes(FloatTag())] = {};
      std::copy_n(p + i, rest, buffer);
      return Lanes::load(buffer);
    };
    body(load, store, store);
  }
}

template <typename Load>
HWY_INLINE SruUnit<Lanes> load_unit(const SruRow<float>& row, const Load& load) {
  return {load(row.weight_forget), load(row.weight_reset), load(row.bias_forget),
          load(row.bias_reset), row.mask != nullptr ? load(row.mask) : Lanes::set(1.0F)};
}

template <bool has_skip_term, typename Load>
HWY_INLINE SruInput<Lanes> load_input(const SruRow<float>& row, const Load& load) {
  Lanes x = Lanes::set(0.0F);
  if constexpr (has_skip_term) {
    x = load(row.x) * Lanes::set(row.scale_x);
  }
  return {load(row.u0), load(row.u1), load(row.u2), x};
}

// Whether all of these begin a whole vector, as streaming needs; null counts as one that does.
HWY_INLINE bool aligned(std::initializer_list<const float*> pointers) {
  const std::size_t bytes = sizeof(float) * hn::Lanes(FloatTag());
  return std::all_of(pointers.begin(), pointers.end(), [bytes](const float* p) {
    return reinterpret_cast<std::uintptr_t>(p) % bytes == 0;
  });
}

template <bool streaming>
void forward_row(const SruForwardRow<float>& row, std::int64_t n, SruVariant variant) {
  dispatch_variant(variant, [&]<Activation activation, bool has_skip_term>() HWY_ATTR {
    const auto body = [&](const auto& load, const auto& store, const auto& write) HWY_ATTR {
      const auto out = sru_forward_step<activation, has_skip_term>(
          load_input<has_skip_term>(row, load), load_unit(row, load), load(row.c_previous));
      store(row.c, out.c);
      write(row.h, out.h);
      if (row.c_kept != nullptr) {
        write(row.c_kept, out.c);
      }
    };
    for_each_vector<streaming>(n, body);
  });
}

template <bool streaming>
void backward_row(const SruBackwardRow<float>& row, std::int64_t n, SruVariant variant) {
  dispatch_variant(variant, [&]<Activation activation, bool has_skip_term>() HWY_ATTR {
    const auto body = [&](const auto& load, const auto& store, const auto& write) HWY_ATTR {
      const auto grad = sru_backward_step<activation, has_skip_term>(
          load_input<has_skip_term>(row, load), load_unit(row, load), load(row.c_previous),
          load(row.grad_h), load(row.grad_c));
      write(row.grad_u0, grad.u0);
      write(row.grad_u1, grad.u1);
      write(row.grad_u2, grad.u2);
      if (row.grad_x != nullptr) {
        write(row.grad_x, grad.x * Lanes::set(row.scale_x));
      }
      store(row.grad_c, grad.c_previous);
      store(row.grad_weight_forget, load(row.grad_weight_forget) + grad.weight_forget);
      store(row.grad_weight_reset, load(row.grad_weight_reset) + grad.weight_reset);
      store(row.grad_bias_forget, load(row.grad_bias_forget) + grad.u1);
      store(row.grad_bias_reset, load(row.grad_bias_reset) + grad.u2);
    };
    for_each_vector<streaming>(n, body);
  });
}

void ForwardRow(const SruForwardRow<float>& row, std::int64_t n, SruVariant variant) {
  if (row.streaming && aligned({row.h, row.c_kept})) {
    forward_row<true>(row, n, variant);
  } else {
    forward_row<false>(row, n, variant);
  }
}

void BackwardRow(const SruBackwardRow<float>& row, std::int64_t n, SruVariant variant) {
  if (row.streaming && aligned({row.grad_u0, row.grad_u1, row.grad_u2, row.grad_x})) {
    backward_row<true>(row, n, variant);
  } else {
    backward_row<false>(row, n, variant);
  }
}

}  // namespace rondo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::cpu {

HWY_EXPORT(ForwardRow);
HWY_EXPORT(BackwardRow);

void sru_forward_row(const SruForwardRow<float>& row, std::int64_t n, SruVariant variant) {
  HWY_DYNAMIC_DISPATCH(ForwardRow)(row, n, variant);
}

void sru_backward_row(const SruBackwardRow<float>& row, std::int64_t n, SruVariant variant) {
  HWY_DYNAMIC_DISPATCH(BackwardRow)(row, n, variant);
}

void finish_streaming() { hwy::FlushStream(); }

}  // namespace rondo::cpu
#endif
