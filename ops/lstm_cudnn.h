// An LSTM layer through cuDNN, for tensors on a GPU.
#pragma once

#include "ops/lstm_layer.h"

namespace rondo {

// Whether this build and machine have a cuDNN that knows activations of `type`.
bool cudnn_has_lstm(DType type);

// `training`: whether lstm_backward_cudnn will follow.
LstmResult lstm_forward_cudnn(const LstmLayer& layer, bool training);
// Gradients in the order of LstmInputs; undefined where not wanted.
std::vector<Tensor> lstm_backward_cudnn(const LstmLayer& layer, const LstmResult& result,
                                        const LstmGradOutputs& grads, const LstmWants& wants);

}  // namespace rondo
