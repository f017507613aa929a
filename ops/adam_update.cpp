#include "ops/adam_update.h"

#include <array>

#include "core/parallel.h"
#include "ops/cpu/adam_update.h"

namespace rondo {

void adam_update(const AdamStep<double>& step, const Tensor& grad, Tensor& parameter, Tensor& m,
                 Tensor& v) {
  constexpr std::int64_t kGrain = 1 << 14;
  const std::array<const Tensor*, 3> operands{&grad, &m, &v};
  for (const Tensor* operand : operands) {
    check_shape("adam_update", "an operand", *operand, parameter.shape());
    check_same_kind("adam_update", "an operand", *operand, parameter);
  }
  require_cpu("adam_update", parameter.device());
  dispatch_compute(parameter.dtype(), "adam_update", [&]<typename T>(Type<T>) {
    const AdamStep<T> s = rounded<T>(step);
    const T* g = grad.data<T>();
    T* p = parameter.data<T>();
    T* m_data = m.data<T>();
    T* v_data = v.data<T>();
    parallel_for(0, grad.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      cpu::adam_update(s, end - begin, g + begin, p + begin, m_data + begin, v_data + begin);
    });
  });
}

}  // namespace rondo
