#include "ops/lstm_cudnn.h"

#include "cuda_kernels/cudnn_lstm.h"

namespace rondo {
namespace {

constexpr bool kHasCudnn = kWithCuda && cuda::kWithCudnn;

cuda::CudnnLstmSizes sizes_of(const LstmLayer& layer) {
  return {layer.steps, layer.batch,  layer.x.size(2),
          layer.units, layer.type(), layer.precision == Precision::tf32};
}

// Raw device memory, of the allocator.
Tensor bytes(const LstmLayer& layer, std::size_t count) {
  return layer.empty({static_cast<std::int64_t>(count)}, DType::u8);
}

const void* address(const Tensor& tensor) { return tensor.defined() ? tensor.raw() : nullptr; }

}  // namespace

bool cudnn_has_lstm([[maybe_unused]] DType type) {
  if constexpr (kHasCudnn) {
    return cuda::cudnn_has_lstm(type);
  }
  return false;
}

// cuDNN takes every tensor, states too, in the type of the activations.
LstmResult lstm_forward_cudnn(const LstmLayer& layer, bool training) {
  LstmResult result;
  if constexpr (kHasCudnn) {
    const DType type = layer.type();
    const DType wide = lstm_parameter_type(type);
    const cuda::CudnnLstm cudnn(sizes_of(layer), cuda::stream(layer.x.device()));
    Tensor weights = bytes(layer, cudnn.weight_bytes());
    cudnn.pack(layer.weight_ih.raw(), layer.weight_hh.raw(), layer.bias.to(type).raw(),
               weights.raw());
    Tensor workspace = bytes(layer, cudnn.workspace_bytes(training));
    Tensor reserve = training ? bytes(layer, cudnn.reserve_bytes()) : Tensor();
    const Tensor c0 = layer.c0.to(type);
    Tensor h_last = layer.empty(layer.c0.shape(), type);
    Tensor c_last = layer.empty(layer.c0.shape(), type);
    result.h = layer.empty({layer.steps, layer.batch, layer.units}, type);
    cudnn.forward({layer.x.raw(), layer.h0.raw(), c0.raw(), weights.raw(), result.h.raw(),
                   h_last.raw(), c_last.raw(), workspace.raw(),
                   training ? reserve.raw() : nullptr});
    result.h_last = h_last.to(wide);
    result.c_last = c_last.to(wide);
    if (training) {
      result.kept = {weights, reserve, c0};
    }
  }
  return result;
}

std::vector<Tensor> lstm_backward_cudnn(const LstmLayer& layer, const LstmResult& result,
                                        const LstmGradOutputs& grads, const LstmWants& wants) {
  std::vector<Tensor> gradients(6);
  if constexpr (kHasCudnn) {
    const DType type = layer.type();
    const DType wide = lstm_parameter_type(type);
    const cuda::CudnnLstm cudnn(sizes_of(layer), cuda::stream(layer.x.device()));
    const auto in_type = [&](const Tensor& grad) { return grad.defined() ? grad.to(type) : grad; };
    const Tensor grad_h_last = in_type(grads.h_last);
    const Tensor grad_c_last = in_type(grads.c_last);
    Tensor workspace = bytes(layer, cudnn.workspace_bytes(true));
    Tensor weights = result.kept[0];
    Tensor reserve = result.kept[1];
    Tensor h = result.h;
    Tensor grad_weights = bytes(layer, cudnn.weight_bytes());
    Tensor grad_x = layer.empty(layer.x.shape(), type);
    Tensor grad_h0 = layer.empty(layer.h0.shape(), type);
    Tensor grad_c0 = layer.empty(layer.c0.shape(), type);
    cuda::CudnnLstm::Backward backward;
    backward.forward = {layer.x.raw(), layer.h0.raw(), result.kept[2].raw(), weights.raw(), h.raw(),
                        nullptr,       nullptr,        workspace.raw(),      reserve.raw()};
    backward.grad_h = grads.h.raw();
    backward.grad_h_last = address(grad_h_last);
    backward.grad_c_last = address(grad_c_last);
    backward.grad_x = grad_x.raw();
    backward.grad_h0 = grad_h0.raw();
    backward.grad_c0 = grad_c0.raw();
    backward.grad_weights = grad_weights.raw();
    cudnn.backward(backward);

    Tensor grad_weight_ih = layer.empty(layer.weight_ih.shape(), type);
    Tensor grad_weight_hh = layer.empty(layer.weight_hh.shape(), type);
    Tensor grad_bias = layer.empty(layer.bias.shape(), type);
    cudnn.unpack(grad_weights.raw(), grad_weight_ih.raw(), grad_weight_hh.raw(), grad_bias.raw());
    const auto wanted = [](bool wants_it, const Tensor& grad) {
      return wants_it ? grad : Tensor();
    };
    gradients = {wanted(wants.x, grad_x),
                 wanted(wants.weight_ih, grad_weight_ih.to(wide)),
                 wanted(wants.weight_hh, grad_weight_hh.to(wide)),
                 wanted(wants.bias, grad_bias.to(wide)),
                 wanted(wants.h0, grad_h0.to(wide)),
                 wanted(wants.c0, grad_c0.to(wide))};
  }
  return gradients;
}

}  // namespace rondo
