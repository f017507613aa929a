#include "ops/relative_attention.h"

#include <algorithm>

#include "ops/relative_attention_call.h"

namespace rondo {
namespace {

RelativeAttentionCall checked(const RelativeAttentionInputs& in, std::int64_t window,
                              const AttentionOptions& options) {
  constexpr std::string_view kOp = "relative_attention";
  check(in.q.defined() && in.q.shape().rank() == 3, "[{}] q must have shape (T, B, n)", kOp);
  RelativeAttentionCall a;
  a.queries = in.q.size(0);
  a.batch = in.q.size(1);
  a.size = in.q.size(2);
  a.heads = options.num_heads;
  a.mask.window = window;
  a.dropout = options.dropout;
  a.precision = options.precision;
  check(in.kv.defined() && in.kv.shape().rank() == 3 && in.kv.size(1) == a.batch &&
            in.kv.size(2) == 2 * a.size && in.kv.size(0) >= a.queries,
        "[{}] kv has shape {}; expected (C, {}, {}) with C >= {} for q {}", kOp,
        in.kv.defined() ? in.kv.shape().str() : "nothing", a.batch, 2 * a.size, a.queries,
        in.q.shape().str());
  a.context = in.kv.size(0);
  check(a.heads >= 1 && a.size % a.heads == 0, "[{}] {} heads do not divide the size {} of q {}",
        kOp, a.heads, a.size, in.q.shape().str());
  check(window >= 0, "[{}] window is {}; expected 0 (none) or more", kOp, window);
  const std::int64_t needed = window > 0 ? std::min(window + 1, a.context) : a.context;
  check(in.r.defined() && in.r.shape().rank() == 2 && in.r.size(0) >= needed &&
            in.r.size(1) == a.size,
        "[{}] r has shape {}; expected (D, {}) with D >= {}, the distances that queries see", kOp,
        in.r.defined() ? in.r.shape().str() : "nothing", a.size, needed);
  a.distances = in.r.size(0);
  check_same_kind(kOp, "kv", in.kv.value(), in.q.value());
  check_same_kind(kOp, "r", in.r.value(), in.q.value());
  for (const auto& [name, bias] :
       {std::pair{"u", in.content_bias}, std::pair{"v", in.position_bias}}) {
    check(bias.defined(), "[{}] {} is missing", kOp, name);
    check_shape(kOp, name, bias.value(), {a.heads, a.head_size()});
    check_parameter_kind(kOp, name, bias.value(), in.q.value());
  }
  check(in.q.dtype() != DType::f64 || a.precision == Precision::f32,
        "[{}] products of f64 tensors are not done in {}", kOp, name(a.precision));
  check(in.q.device().is_cuda() || a.precision == Precision::f32 || a.precision == Precision::bf16,
        "[{}] precision {} needs a GPU; use f32 or bf16 on the CPU", kOp, name(a.precision));
  check(a.dropout >= 0.0 && a.dropout < 1.0, "[{}] dropout is {}; expected 0 <= p < 1", kOp,
        a.dropout);
  if (a.dropout > 0.0) {
    check(options.generator != nullptr, "[{}] dropout {} needs a generator", kOp, a.dropout);
    a.stream = options.generator->next();
  }
  return a;
}

}  // namespace

Variable relative_attention(const RelativeAttentionInputs& inputs, std::int64_t window,
                            const AttentionOptions& options) {
  const RelativeAttentionCall a = checked(inputs, window, options);
  if (inputs.q.device().is_cuda()) {
    return relative_attention_on_gpu(a, inputs);
  }
  require_cpu("relative_attention", inputs.q.device());
  return relative_attention_on_cpu(a, inputs);
}

}  // namespace rondo
