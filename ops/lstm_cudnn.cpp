#include "ops/lstm_cudnn.h"

namespace rondo {

bool cudnn_has_lstm(DType /*type*/) { return false; }

LstmResult lstm_forward_cudnn(const LstmLayer& /*layer*/, bool /*training*/) { fail("none"); }
std::vector<Tensor> lstm_backward_cudnn(const LstmLayer& /*layer*/, const LstmResult& /*result*/,
                                        const LstmGradOutputs& /*grads*/,
                                        const LstmWants& /*wants*/) {
  fail("none");
}

}  // namespace rondo
