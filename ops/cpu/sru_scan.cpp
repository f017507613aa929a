#include "ops/cpu/sru_scan.h"

namespace rondo::cpu {
namespace {

template <bool has_skip_term, typename T>
SruInput<T> input(const SruRow<T>& row, std::int64_t i) {
  return {row.u0[i], row.u1[i], row.u2[i], has_skip_term ? row.x[i] * row.scale_x : T(0)};
}

template <typename T>
SruUnit<T> unit(const SruRow<T>& row, std::int64_t i) {
  return {row.weight_forget[i], row.weight_reset[i], row.bias_forget[i], row.bias_reset[i],
          row.mask != nullptr ? row.mask[i] : T(1)};
}

}  // namespace

template <typename T>
void sru_forward_row_plain(const SruForwardRow<T>& row, std::int64_t n, SruVariant variant) {
  dispatch_variant(variant, [&]<Activation activation, bool has_skip_term>() {
    for (std::int64_t i = 0; i < n; ++i) {
      const SruState<T> out = sru_forward_step<activation, has_skip_term>(
          input<has_skip_term>(row, i), unit(row, i), row.c_previous[i]);
      row.c[i] = out.c;
      if (row.c_kept != nullptr) {
        row.c_kept[i] = out.c;
      }
      row.h[i] = out.h;
    }
  });
}

template <typename T>
void sru_backward_row_plain(const SruBackwardRow<T>& row, std::int64_t n, SruVariant variant) {
  dispatch_variant(variant, [&]<Activation activation, bool has_skip_term>() {
    for (std::int64_t i = 0; i < n; ++i) {
      const SruGradients<T> grad = sru_backward_step<activation, has_skip_term>(
          input<has_skip_term>(row, i), unit(row, i), row.c_previous[i], row.grad_h[i],
          row.grad_c[i]);
      row.grad_u0[i] = grad.u0;
      row.grad_u1[i] = grad.u1;
      row.grad_u2[i] = grad.u2;
      if (row.grad_x != nullptr) {
        row.grad_x[i] = grad.x * row.scale_x;
      }
      row.grad_c[i] = grad.c_previous;
      row.grad_weight_forget[i] += grad.weight_forget;
      row.grad_weight_reset[i] += grad.weight_reset;
      row.grad_bias_forget[i] += grad.u1;
      row.grad_bias_reset[i] += grad.u2;
    }
  });
}

template void sru_forward_row_plain(const SruForwardRow<float>&, std::int64_t, SruVariant);
template void sru_forward_row_plain(const SruForwardRow<double>&, std::int64_t, SruVariant);
template void sru_backward_row_plain(const SruBackwardRow<float>&, std::int64_t, SruVariant);
template void sru_backward_row_plain(const SruBackwardRow<double>&, std::int64_t, SruVariant);

void sru_forward_row(const SruForwardRow<double>& row, std::int64_t n, SruVariant variant) {
  sru_forward_row_plain(row, n, variant);
}

void sru_backward_row(const SruBackwardRow<double>& row, std::int64_t n, SruVariant variant) {
  sru_backward_row_plain(row, n, variant);
}

}  // namespace rondo::cpu
