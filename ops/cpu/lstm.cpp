#include "ops/cpu/lstm.h"

namespace rondo::cpu {
namespace {

// The four values of unit i that are `plane` elements apart.
LstmGates<double> load(const double* planes, std::int64_t plane, std::int64_t i) {
  return {planes[i], planes[plane + i], planes[2 * plane + i], planes[3 * plane + i]};
}

void store(const LstmGates<double>& values, double* planes, std::int64_t plane, std::int64_t i) {
  planes[i] = values.input;
  planes[plane + i] = values.forget;
  planes[2 * plane + i] = values.cell;
  planes[3 * plane + i] = values.output;
}

}  // namespace

void lstm_forward_row(const LstmForwardRow<double>& row, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const LstmGates<double> gates =
        lstm_activate(load(row.raw, row.plane, i) + load(row.bias, row.plane, i));
    const LstmState<double> out = lstm_forward_step(gates, row.c[i]);
    if (row.gates != nullptr) {
      store(gates, row.gates, row.plane, i);
    }
    row.c[i] = out.c;
    if (row.c_kept != nullptr) {
      row.c_kept[i] = out.c;
    }
    row.h[i] = out.h;
  }
}

void lstm_backward_row(const LstmBackwardRow<double>& row, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const double recurrent = row.grad_recurrent != nullptr ? row.grad_recurrent[i] : 0.0;
    const LstmGradients<double> grad = lstm_backward_step(
        load(row.gates, row.plane, i), row.c_previous[i], row.grad_h[i] + recurrent, row.grad_c[i]);
    store(grad.raw, row.gates, row.plane, i);
    row.grad_c[i] = grad.c_previous;
  }
}

}  // namespace rondo::cpu
