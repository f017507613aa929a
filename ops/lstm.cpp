#include "ops/lstm.h"

#include <algorithm>

#include "core/parallel.h"
#include "cuda_kernels/gemm.h"
#include "cuda_kernels/linear.h"
#include "cuda_kernels/lstm.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/lstm.h"
#include "ops/device.h"
#include "ops/lstm_cudnn.h"
#include "ops/lstm_layer.h"

namespace rondo {
namespace {

struct Matrix {
  const Tensor& elements;  // the rows are all dimensions but the last
  bool transposed = false;

  std::int64_t rows() const {
    return transposed ? elements.shape().back() : elements.shape().rows();
  }
  std::int64_t columns() const {
    return transposed ? elements.shape().rows() : elements.shape().back();
  }
};

// c = a b + beta c
void multiply(const Matrix& a, const Matrix& b, double beta, Tensor c, Precision precision) {
  const std::int64_t lda = a.elements.shape().back();
  const std::int64_t ldb = b.elements.shape().back();
  run_on(
      c.device(),
      [&] {
        dispatch_compute(c.dtype(), "lstm", [&]<typename T>(Type<T>) {
          cpu::gemm(cpu::Transpose{a.transposed}, cpu::Transpose{b.transposed}, a.rows(),
                    b.columns(), a.columns(), T(1), a.elements.data<T>(), lda, b.elements.data<T>(),
                    ldb, static_cast<T>(beta), c.data<T>(), b.columns(), precision);
        });
      },
      [&](auto stream) {
        cuda::Gemm product;
        product.transpose_a = cuda::Transpose{a.transposed};
        product.transpose_b = cuda::Transpose{b.transposed};
        product.m = a.rows();
        product.n = b.columns();
        product.k = a.columns();
        product.beta = beta;
        product.operands = a.elements.dtype();
        product.result = c.dtype();
        product.tf32 = precision == Precision::tf32;
        product.a = a.elements.raw();
        product.lda = lda;
        product.b = b.elements.raw();
        product.ldb = ldb;
        product.c = c.raw();
        product.ldc = b.columns();
        cuda::gemm(product, stream);
      });
}

// The sums of the columns of a matrix of gradients, each in the order of rows.
Tensor sum_rows(const Tensor& matrix) {
  const std::int64_t rows = matrix.shape().rows();
  const std::int64_t columns = matrix.shape().back();
  Tensor sums = Tensor::empty({columns}, lstm_parameter_type(matrix.dtype()), matrix.device());
  run_on(
      matrix.device(),
      [&] {
        dispatch_compute(matrix.dtype(), "lstm", [&]<typename T>(Type<T>) {
          const T* from = matrix.data<T>();
          T* to = sums.data<T>();
          parallel_for(0, columns, 64, [=](std::int64_t begin, std::int64_t end) {
            std::fill(to + begin, to + end, T(0));
            for (std::int64_t row = 0; row < rows; ++row) {
              for (std::int64_t column = begin; column < end; ++column) {
                to[column] += from[row * columns + column];
              }
            }
          });
        });
      },
      [&](auto stream) {
        Tensor scratch =
            Tensor::empty({cuda::column_sums_scratch(rows, columns)}, sums.dtype(), sums.device());
        dispatch_floating(matrix.dtype(), "lstm", [&]<typename A>(Type<A>) {
          using P = ComputeType<A>;
          cuda::column_sums(matrix.device_data<A>(), rows, columns, scratch.device_data<P>(),
                            sums.device_data<P>(), stream);
        });
      });
  return sums;
}

// Calls visit(row, begin, end) for units [begin, end) of batch entries, spread over threads.
template <typename Visit>
void for_each_row(std::int64_t batch, std::int64_t units, const Visit& visit) {
  constexpr std::int64_t kBlock = 16;  // units: threads meet at whole cache lines
  constexpr std::int64_t kGrain = 64;  // blocks a thread at least takes
  const std::int64_t total = batch * units;
  parallel_for(0, (total + kBlock - 1) / kBlock, kGrain,
               [&](std::int64_t first, std::int64_t last) {
                 const std::int64_t from = first * kBlock;
                 const std::int64_t to = std::min(last * kBlock, total);
                 for (std::int64_t row = from / units; row * units < to; ++row) {
                   visit(row, std::max<std::int64_t>(from - row * units, 0),
                         std::min(to - row * units, units));
                 }
               });
}

// What one step reads and writes: rows of the tensors that the launchers' structs describe.
struct ForwardStep {
  Tensor raw, bias, c, h;
  Tensor gates, c_kept;  // undefined where there is no backward pass
};

void forward(ForwardStep step) {
  const std::int64_t batch = step.c.size(0);
  const std::int64_t units = step.c.size(1);
  run_on(
      step.h.device(),
      [&] {
        dispatch_compute(step.h.dtype(), "lstm", [&]<typename T>(Type<T>) {
          T* const gates = step.gates.defined() ? step.gates.data<T>() : nullptr;
          T* const c_kept = step.c_kept.defined() ? step.c_kept.data<T>() : nullptr;
          for_each_row(batch, units, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
            const std::int64_t planes = row * 4 * units + begin;
            const std::int64_t unit = row * units + begin;
            cpu::lstm_forward_row(
                cpu::LstmForwardRow<T>{
                    units, step.raw.data<T>() + planes, step.bias.data<T>() + begin,
                    gates != nullptr ? gates + planes : nullptr, step.c.data<T>() + unit,
                    c_kept != nullptr ? c_kept + unit : nullptr, step.h.data<T>() + unit},
                end - begin);
          });
        });
      },
      [&](auto stream) {
        dispatch_floating(step.h.dtype(), "lstm", [&]<typename A>(Type<A>) {
          using P = ComputeType<A>;
          cuda::lstm_forward(
              cuda::LstmForward<A>{batch, units, step.raw.device_data<P>(),
                                   step.bias.device_data<P>(), step.c.device_data<P>(),
                                   step.h.device_data<A>(),
                                   step.gates.defined() ? step.gates.device_data<A>() : nullptr,
                                   step.c_kept.defined() ? step.c_kept.device_data<A>() : nullptr},
              stream);
        });
      });
}

struct BackwardStep {
  Tensor gates, c_previous, grad_h;
  Tensor grad_recurrent;  // undefined for zeros
  Tensor grad_c;
};

void backward(BackwardStep step) {
  const std::int64_t batch = step.grad_c.size(0);
  const std::int64_t units = step.grad_c.size(1);
  run_on(
      step.gates.device(),
      [&] {
        dispatch_compute(step.gates.dtype(), "lstm", [&]<typename T>(Type<T>) {
          const T* const recurrent =
              step.grad_recurrent.defined() ? step.grad_recurrent.data<T>() : nullptr;
          for_each_row(batch, units, [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
            const std::int64_t unit = row * units + begin;
            cpu::lstm_backward_row(
                cpu::LstmBackwardRow<T>{units, step.gates.data<T>() + row * 4 * units + begin,
                                        step.c_previous.data<T>() + unit,
                                        step.grad_h.data<T>() + unit,
                                        recurrent != nullptr ? recurrent + unit : nullptr,
                                        step.grad_c.data<T>() + unit},
                end - begin);
          });
        });
      },
      [&](auto stream) {
        dispatch_floating(step.gates.dtype(), "lstm", [&]<typename A>(Type<A>) {
          using P = ComputeType<A>;
          cuda::lstm_backward(cuda::LstmBackward<A>{batch, units, step.gates.device_data<A>(),
                                                    std::as_const(step.c_previous).device_data<A>(),
                                                    std::as_const(step.grad_h).device_data<A>(),
                                                    device_data_or_null<P>(step.grad_recurrent),
                                                    step.grad_c.device_data<P>()},
                              stream);
        });
      });
}

// One product for the input of all steps, then a product and the rest of the step for each.
LstmResult forward(const LstmLayer& layer, bool training) {
  const DType type = layer.type();
  const DType wide = lstm_parameter_type(type);
  const Shape planes{layer.steps, layer.batch, 4 * layer.units};
  const Shape sequence{layer.steps, layer.batch, layer.units};
  Tensor raw = layer.empty(planes, wide);
  multiply({layer.x}, {layer.weight_ih, true}, 0.0, raw, layer.precision);

  Tensor h = layer.empty(sequence, type);
  Tensor c = layer.c0.clone();
  Tensor gates;
  Tensor c_all;
  if (training) {
    gates = type == wide ? raw : layer.empty(planes, type);
    c_all = layer.empty(sequence, type);
  }
  for (std::int64_t t = 0; t < layer.steps; ++t) {
    const Tensor h_previous = t == 0 ? layer.h0 : h[t - 1];
    multiply({h_previous}, {layer.weight_hh, true}, 1.0, raw[t], layer.precision);
    forward({raw[t], layer.bias, c, h[t], training ? gates[t] : Tensor(),
             training ? c_all[t] : Tensor()});
  }
  const Tensor last = h[layer.steps - 1];
  LstmResult result{h, type == wide ? last.clone() : last.to(wide), c, {}};
  if (training) {
    result.kept = {gates, c_all};
  }
  return result;
}

// The steps in reverse, then one product over all of them for each weight. The gradients of gates
// take the place of the gates.
std::vector<Tensor> backward(const LstmLayer& layer, const LstmResult& result,
                             const LstmGradOutputs& grads, const LstmWants& wants) {
  const DType wide = lstm_parameter_type(layer.type());
  const Shape state{layer.batch, layer.units};
  const Tensor& gates = result.kept[0];
  const Tensor& c_all = result.kept[1];
  Tensor grad_h = grads.h_last;
  Tensor grad_c =
      grads.c_last.defined() ? grads.c_last : Tensor::zeros(state, wide, layer.x.device());
  for (std::int64_t t = layer.steps - 1; t >= 0; --t) {
    backward(
        {gates[t], t == 0 ? layer.c0.to(layer.type()) : c_all[t - 1], grads.h[t], grad_h, grad_c});
    if (t > 0 || wants.h0) {
      if (!grad_h.defined()) {
        grad_h = layer.empty(state, wide);
      }
      multiply({gates[t]}, {layer.weight_hh}, 0.0, grad_h, layer.precision);
    }
  }

  std::vector<Tensor> gradients(6);
  if (wants.x) {
    gradients[0] = layer.empty(layer.x.shape(), layer.type());
    multiply({gates}, {layer.weight_ih}, 0.0, gradients[0], layer.precision);
  }
  if (wants.weight_ih) {
    gradients[1] = layer.empty(layer.weight_ih.shape(), wide);
    multiply({gates, true}, {layer.x}, 0.0, gradients[1], layer.precision);
  }
  if (wants.weight_hh) {
    gradients[2] = layer.empty(layer.weight_hh.shape(), wide);
    multiply({gates[0], true}, {layer.h0}, 0.0, gradients[2], layer.precision);
    if (layer.steps > 1) {
      const std::int64_t later = layer.steps - 1;
      multiply({gates.narrow(1, later), true}, {result.h.narrow(0, later)}, 1.0, gradients[2],
               layer.precision);
    }
  }
  if (wants.bias) {
    gradients[3] = sum_rows(gates);
  }
  if (wants.h0) {
    gradients[4] = grad_h;
  }
  if (wants.c0) {
    gradients[5] = grad_c;
  }
  return gradients;
}

LstmLayer checked(const LstmInputs& in, Precision precision) {
  check(in.x.defined() && in.x.shape().rank() == 3 && in.x.size(0) >= 1 && in.x.size(1) >= 1,
        "[lstm] x must have shape (T, B, d) with T and B at least 1, found {}",
        in.x.defined() ? in.x.shape().str() : "nothing");
  check(in.bias.defined() && in.bias.shape().rank() == 1 && in.bias.size(0) >= 4 &&
            in.bias.size(0) % 4 == 0,
        "[lstm] bias must have shape (4*D), found {}",
        in.bias.defined() ? in.bias.shape().str() : "nothing");
  const DType type = in.x.dtype();
  const std::int64_t units = in.bias.size(0) / 4;
  const Shape state{in.x.size(1), units};
  const auto require = [&](std::string_view argument, const Variable& given, const Shape& shape) {
    check(given.defined(), "[lstm] {} is missing", argument);
    check_shape("lstm", argument, given.value(), shape);
    check_parameter_kind("lstm", argument, given.value(), in.x.value());
  };
  require("weight_ih", in.weight_ih, {4 * units, in.x.size(2)});
  require("weight_hh", in.weight_hh, {4 * units, units});
  require("bias", in.bias, {4 * units});
  const auto state_or_zeros = [&](std::string_view argument, const Variable& given) {
    if (!given.defined()) {
      return Tensor::zeros(state, lstm_parameter_type(type), in.x.device());
    }
    require(argument, given, state);
    return given.value();
  };
  return {in.x.size(0),
          in.x.size(1),
          units,
          precision,
          in.x.value(),
          in.weight_ih.value().to(type),
          in.weight_hh.value().to(type),
          in.bias.value(),
          state_or_zeros("h0", in.h0).to(type),
          state_or_zeros("c0", in.c0)};
}

}  // namespace

bool lstm_uses_cudnn(DType type, Device device) { return device.is_cuda() && cudnn_has_lstm(type); }

LstmOutputs lstm(const LstmInputs& inputs, Precision precision, LstmKernels kernels) {
  const LstmLayer layer = checked(inputs, precision);
  const bool cudnn =
      kernels == LstmKernels::automatic && lstm_uses_cudnn(layer.type(), layer.x.device());
  const Variable recorded[] = {inputs.x,    inputs.weight_ih, inputs.weight_hh,
                               inputs.bias, inputs.h0,        inputs.c0};
  const LstmWants wants{inputs.x.requires_grad(),         inputs.weight_ih.requires_grad(),
                        inputs.weight_hh.requires_grad(), inputs.bias.requires_grad(),
                        inputs.h0.requires_grad(),        inputs.c0.requires_grad()};
  const bool training = needs_grad(recorded);
  const LstmResult result = cudnn ? lstm_forward_cudnn(layer, training) : forward(layer, training);
  std::vector<Variable> outputs = record(
      "lstm", {result.h, result.h_last, result.c_last}, recorded,
      [=](std::span<const Tensor> grad_outputs) {
        const Tensor grad_h = grad_outputs[0].defined()
                                  ? grad_outputs[0]
                                  : Tensor::zeros(result.h.shape(), layer.type(), layer.x.device());
        const LstmGradOutputs grads{grad_h, grad_outputs[1], grad_outputs[2]};
        return cudnn ? lstm_backward_cudnn(layer, result, grads, wants)
                     : backward(layer, result, grads, wants);
      });
  return {outputs[0], outputs[1], outputs[2]};
}

void lstm_step(const Tensor& gates_of_x, const Tensor& gates_of_h, Tensor& h, Tensor& c) {
  const std::int64_t streams = c.size(0);
  const std::int64_t units = c.size(1);
  check_shape("lstm_step", "gates_of_x", gates_of_x, {streams, 4 * units});
  check_shape("lstm_step", "gates_of_h", gates_of_h, gates_of_x.shape());
  check_shape("lstm_step", "h", h, c.shape());
  run_on(
      c.device(),
      [&] {
        const float* const raw = gates_of_x.data<float>();
        const float* const added = gates_of_h.data<float>();
        float* const all_c = c.data<float>();
        float* const all_h = h.data<float>();
        for_each_row(streams, units, [=](std::int64_t row, std::int64_t begin, std::int64_t end) {
          const std::int64_t planes = row * 4 * units + begin;
          const std::int64_t unit = row * units + begin;
          cpu::lstm_forward_row(
              cpu::LstmForwardRow<float>{units, raw + planes, added + planes, nullptr, all_c + unit,
                                         nullptr, all_h + unit},
              end - begin);
        });
      },
      [&](auto stream) {
        cuda::LstmForward<float> step{streams,
                                      units,
                                      gates_of_x.device_data<float>(),
                                      gates_of_h.device_data<float>(),
                                      c.device_data<float>(),
                                      h.device_data<float>()};
        step.bias_stride = 4 * units;
        cuda::lstm_forward(step, stream);
      });
}

}  // namespace rondo
