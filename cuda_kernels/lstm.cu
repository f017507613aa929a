// The LSTM step of core/scalar/lstm_step.h. Per unit, forward reads four gates, a bias for each and
// c, and writes c, h and, for the backward pass, the gates and c once more; backward reads and
// writes four gates and the gradient of c, and reads c and two gradients of h.
//
// A thread takes one unit. A step has batch times units of them, some ten thousand: they fit the
// device at once, so that its time is that of a launch and of one trip to memory, and more threads
// with less each hide that trip best. Neighbouring threads read neighbouring units of a plane.
#include "cuda_kernels/lstm.h"

#include "core/cuda_launch.cuh"
#include "core/element.h"
#include "core/scalar/lstm_step.h"

namespace rondo::cuda {
namespace {

constexpr int kThreads = 128;

// The four values of a unit that are `plane` elements apart, as the type of arithmetic.
template <typename T>
__device__ LstmGates<ComputeType<T>> load_gates(const T* planes, std::int64_t plane) {
  return {to_compute(planes[0]), to_compute(planes[plane]), to_compute(planes[2 * plane]),
          to_compute(planes[3 * plane])};
}

template <typename A>
__device__ void store_gates(const LstmGates<ComputeType<A>>& gates, A* planes, std::int64_t plane) {
  planes[0] = convert_element<A>(gates.input);
  planes[plane] = convert_element<A>(gates.forget);
  planes[2 * plane] = convert_element<A>(gates.cell);
  planes[3 * plane] = convert_element<A>(gates.output);
}

template <typename A>
__global__ void __launch_bounds__(kThreads) lstm_forward_kernel(LstmForward<A> step) {
  const std::int64_t i = first_item();
  if (i >= step.batch * step.units) {
    return;
  }
  const std::int64_t row = i / step.units;
  const std::int64_t unit = i - row * step.units;
  const std::int64_t first = row * 4 * step.units + unit;
  const auto gates =
      lstm_activate(load_gates(step.raw + first, step.units) +
                    load_gates(step.bias + row * step.bias_stride + unit, step.units));
  const auto out = lstm_forward_step(gates, step.c[i]);
  step.c[i] = out.c;
  step.h[i] = convert_element<A>(out.h);
  if (step.gates != nullptr) {
    store_gates(gates, step.gates + first, step.units);
    step.c_kept[i] = convert_element<A>(out.c);
  }
}

template <typename A>
__global__ void __launch_bounds__(kThreads) lstm_backward_kernel(LstmBackward<A> step) {
  const std::int64_t i = first_item();
  if (i >= step.batch * step.units) {
    return;
  }
  const std::int64_t row = i / step.units;
  const std::int64_t unit = i - row * step.units;
  A* const gates = step.gates + row * 4 * step.units + unit;
  auto grad_h = to_compute(step.grad_h[i]);
  if (step.grad_recurrent != nullptr) {
    grad_h += step.grad_recurrent[i];
  }
  const auto grad = lstm_backward_step(load_gates(gates, step.units),
                                       to_compute(step.c_previous[i]), grad_h, step.grad_c[i]);
  store_gates(grad.raw, gates, step.units);
  step.grad_c[i] = grad.c_previous;
}

}  // namespace

template <typename A>
void lstm_forward(const LstmForward<A>& step, Stream stream) {
  launch("lstm", lstm_forward_kernel<A>, grid_over(step.batch * step.units, kThreads), stream,
         step);
}

template <typename A>
void lstm_backward(const LstmBackward<A>& step, Stream stream) {
  launch("lstm", lstm_backward_kernel<A>, grid_over(step.batch * step.units, kThreads), stream,
         step);
}

template void lstm_forward(const LstmForward<float>&, Stream);
template void lstm_forward(const LstmForward<double>&, Stream);
template void lstm_forward(const LstmForward<bfloat16>&, Stream);
template void lstm_forward(const LstmForward<float16>&, Stream);

template void lstm_backward(const LstmBackward<float>&, Stream);
template void lstm_backward(const LstmBackward<double>&, Stream);
template void lstm_backward(const LstmBackward<bfloat16>&, Stream);
template void lstm_backward(const LstmBackward<float16>&, Stream);

}  // namespace rondo::cuda
