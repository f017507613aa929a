#include "ops/cast.h"

namespace rondo {

Variable cast(const Variable& x, DType dtype) {
  if (x.dtype() == dtype) {
    return x;
  }
  return record("cast", x.value().to(dtype), {x},
                [from = x.dtype()](std::span<const Tensor> grads) {
                  return std::vector<Tensor>{grads[0].to(from)};
                });
}

}  // namespace rondo
