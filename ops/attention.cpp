#include "ops/attention.h"

#include <algorithm>

#include "core/parallel.h"
#include "ops/attention_call.h"
#include "ops/attention_rows.h"
#include "ops/cpu/gemm.h"

namespace rondo {
namespace {

using cpu::Transpose;

// Queries that share one pair of products: enough rows for the product to be fast, few enough that
// little of a block lies beyond the causal edge.
constexpr std::int64_t kBlock = 128;

using Range = ContextRange;

// Pointers to one head of one batch entry. Rows of q and out are `q_stride` apart, of k and v
// `kv_stride`; probabilities are (T, C).
template <typename T>
struct Head {
  const T* q;
  const T* k;
  const T* v;
  std::int64_t q_stride, kv_stride;
  std::int64_t b;
  std::int64_t index;  // b * heads + h, for dropout
};

template <typename T>
Head<T> head(const AttentionCall& a, const Tensor& q, const Tensor& kv, std::int64_t index) {
  const std::int64_t b = index / a.heads;
  const std::int64_t column = index % a.heads * a.head_size();
  const T* keys = kv.data<T>() + b * 2 * a.size + column;
  return {q.data<T>() + b * a.size + column,
          keys,
          keys + a.size,
          a.batch * a.size,
          a.batch * 2 * a.size,
          b,
          index};
}

// Probabilities (T, C) and output of one head.
template <typename T>
void forward_head(const AttentionCall& a, const Head<T>& in, T* probabilities, std::uint8_t* bits,
                  T* dropped, T* out) {
  for (std::int64_t begin = 0; begin < a.queries; begin += kBlock) {
    const std::int64_t end = std::min(begin + kBlock, a.queries);
    const Range shown = a.visible(begin, end);
    T* block = probabilities + begin * a.context;
    cpu::gemm(Transpose::no, Transpose::yes, end - begin, shown.size(), a.head_size(),
              static_cast<T>(a.scale()), in.q + begin * in.q_stride, in.q_stride,
              in.k + shown.begin * in.kv_stride, in.kv_stride, T(0), block + shown.begin, a.context,
              a.precision);
    for (std::int64_t i = begin; i < end; ++i) {
      softmax_row(a, in.b, i, shown, probabilities + i * a.context);
      if (a.dropout > 0.0) {
        std::uint8_t* row_bits = bits + i * mask_bytes(a);
        make_mask(a, in.index, i, shown, row_bits);
        drop(a, row_bits, shown, probabilities + i * a.context, dropped + (i - begin) * a.context);
      }
    }
    const T* weights = a.dropout > 0.0 ? dropped : block;
    cpu::gemm(Transpose::no, Transpose::no, end - begin, a.head_size(), shown.size(), T(1),
              weights + shown.begin, a.context, in.v + shown.begin * in.kv_stride, in.kv_stride,
              T(0), out + begin * in.q_stride, in.q_stride, a.precision);
  }
}

// Where the gradients of one head go: grad_q is written, grad_k and grad_v are added to.
template <typename T>
struct HeadGradient {
  const T* out;
  T* q;
  T* k;
  T* v;
};

template <typename T>
void backward_head(const AttentionCall& a, const Head<T>& in, const T* probabilities,
                   const std::uint8_t* bits, const HeadGradient<T>& grad, T* dropped, T* scores) {
  for (std::int64_t begin = 0; begin < a.queries; begin += kBlock) {
    const std::int64_t end = std::min(begin + kBlock, a.queries);
    const std::int64_t rows = end - begin;
    const Range shown = a.visible(begin, end);
    const T* block = probabilities + begin * a.context;
    const T* grad_out = grad.out + begin * in.q_stride;
    // Gradient of the weights after dropout: grad_out v^T.
    cpu::gemm(Transpose::no, Transpose::yes, rows, shown.size(), a.head_size(), T(1), grad_out,
              in.q_stride, in.v + shown.begin * in.kv_stride, in.kv_stride, T(0),
              scores + shown.begin, a.context, a.precision);
    for (std::int64_t i = begin; i < end; ++i) {
      const T* p = probabilities + i * a.context;
      T* g = scores + (i - begin) * a.context;
      if (a.dropout > 0.0) {
        const std::uint8_t* row_bits = bits + i * mask_bytes(a);
        drop(a, row_bits, shown, p, dropped + (i - begin) * a.context);
        drop(a, row_bits, shown, g, g);
      }
      cpu::softmax_gradient_in_place(p + shown.begin, g + shown.begin, shown.size());
    }
    const T* weights = a.dropout > 0.0 ? dropped : block;
    const auto scale = static_cast<T>(a.scale());
    cpu::gemm(Transpose::yes, Transpose::no, shown.size(), a.head_size(), rows, T(1),
              weights + shown.begin, a.context, grad_out, in.q_stride, T(1),
              grad.v + shown.begin * in.kv_stride, in.kv_stride, a.precision);
    cpu::gemm(Transpose::no, Transpose::no, rows, a.head_size(), shown.size(), scale,
              scores + shown.begin, a.context, in.k + shown.begin * in.kv_stride, in.kv_stride,
              T(0), grad.q + begin * in.q_stride, in.q_stride, a.precision);
    cpu::gemm(Transpose::yes, Transpose::no, shown.size(), a.head_size(), rows, scale,
              scores + shown.begin, a.context, in.q + begin * in.q_stride, in.q_stride, T(1),
              grad.k + shown.begin * in.kv_stride, in.kv_stride, a.precision);
  }
}

// The dropout masks of one head, null without dropout.
std::uint8_t* head_bits(const AttentionCall& a, Tensor bits, std::int64_t index) {
  return bits.defined() ? bits.data<std::uint8_t>() + index * a.queries * mask_bytes(a) : nullptr;
}

AttentionCall checked(const Variable& q, const Variable& kv, const AttentionMask& mask,
                      const AttentionOptions& options) {
  check(q.defined() && q.shape().rank() == 3, "[attention] q must have shape (T, B, n)");
  AttentionCall a{
      q.size(0),         0, q.size(1), q.size(2), options.num_heads, mask, options.dropout,
      options.precision, {}};
  check(kv.defined() && kv.shape().rank() == 3 && kv.size(1) == a.batch &&
            kv.size(2) == 2 * a.size && kv.size(0) >= a.queries,
        "[attention] kv has shape {}; expected (C, {}, {}) with C >= {} for q {}",
        kv.defined() ? kv.shape().str() : "nothing", a.batch, 2 * a.size, a.queries,
        q.shape().str());
  a.context = kv.size(0);
  check_same_kind("attention", "kv", kv.value(), q.value());
  check(q.dtype() != DType::f64 || a.precision == Precision::f32,
        "[attention] products of f64 tensors are not done in {}", name(a.precision));
  check(q.device().is_cuda() || a.precision == Precision::f32 || a.precision == Precision::bf16,
        "[attention] precision {} needs a GPU; use f32 or bf16 on the CPU", name(a.precision));
  check(a.heads >= 1 && a.size % a.heads == 0,
        "[attention] {} heads do not divide the size {} of q {}", a.heads, a.size, q.shape().str());
  check(mask.window >= 0, "[attention] window is {}; expected 0 (none) or more", mask.window);
  if (mask.additive.defined()) {
    check_shape("attention", "additive mask", mask.additive, {a.queries, a.context});
    const DType expected = q.dtype() == DType::f64 ? DType::f64 : DType::f32;
    check(mask.additive.dtype() == expected && mask.additive.device() == q.device(),
          "[attention] additive mask is {} on {}; expected {} on {} for q of {}",
          name(mask.additive.dtype()), mask.additive.device().str(), name(expected),
          q.device().str(), name(q.dtype()));
  }
  if (mask.key_padding.defined()) {
    check_shape("attention", "key_padding", mask.key_padding, {a.context, a.batch});
    check(mask.key_padding.dtype() == DType::boolean && mask.key_padding.device() == q.device(),
          "[attention] key_padding is {} on {}; expected bool on {}",
          name(mask.key_padding.dtype()), mask.key_padding.device().str(), q.device().str());
  }
  check(a.dropout >= 0.0 && a.dropout < 1.0, "[attention] dropout is {}; expected 0 <= p < 1",
        a.dropout);
  if (a.dropout > 0.0) {
    check(options.generator != nullptr, "[attention] dropout {} needs a generator", a.dropout);
    a.stream = options.generator->next();
  }
  return a;
}

}  // namespace

Variable attention(const Variable& q, const Variable& kv, const AttentionMask& mask,
                   const AttentionOptions& options) {
  const AttentionCall a = checked(q, kv, mask, options);
  const DType dtype = q.dtype();
  const Device device = q.device();
  if (device.is_cuda()) {
    return attention_on_gpu(a, q, kv);
  }
  require_cpu("attention", device);
  Tensor out = Tensor::empty(q.shape(), dtype, device);
  // Blocks write only what their queries can see, and backward reads no more than that.
  const std::int64_t heads = a.batch * a.heads;
  const bool recorded = needs_grad({q, kv});
  Tensor probabilities =
      recorded ? Tensor::empty({heads, a.queries, a.context}, dtype, device) : Tensor();
  Tensor bits =
      a.dropout > 0.0 ? Tensor::empty({heads, a.queries, mask_bytes(a)}, DType::u8) : Tensor();
  dispatch_compute(dtype, "attention", [&]<typename T>(Type<T>) {
    for_each_task(a.batch * a.heads, [&](std::int64_t index) {
      const Head<T> in = head<T>(a, q.value(), kv.value(), index);
      Tensor weights =
          recorded ? probabilities[index] : Tensor::empty({a.queries, a.context}, dtype, device);
      Tensor dropped =
          a.dropout > 0.0 ? Tensor::empty({kBlock, a.context}, dtype, device) : Tensor();
      forward_head(a, in, weights.data<T>(), head_bits(a, bits, index),
                   dropped.defined() ? dropped.data<T>() : nullptr,
                   out.data<T>() + (in.q - q.value().data<T>()));
    });
  });

  return record(
      "attention", std::move(out), {q, kv},
      [a, q = q.value(), kv = kv.value(), probabilities,
       bits](std::span<const Tensor> grads) -> std::vector<Tensor> {
        const DType type = q.dtype();
        Tensor grad_q = Tensor::empty(q.shape(), type, q.device());
        Tensor grad_kv = Tensor::zeros(kv.shape(), type, kv.device());
        dispatch_compute(type, "attention", [&]<typename T>(Type<T>) {
          for_each_task(a.batch * a.heads, [&](std::int64_t index) {
            const Head<T> in = head<T>(a, q, kv, index);
            const std::int64_t q_offset = in.q - q.data<T>();
            T* grad_k = grad_kv.data<T>() + (in.k - kv.data<T>());
            const HeadGradient<T> grad{grads[0].data<T>() + q_offset, grad_q.data<T>() + q_offset,
                                       grad_k, grad_k + a.size};
            Tensor scratch = Tensor::empty({2, kBlock, a.context}, type, q.device());
            backward_head(a, in, probabilities[index].data<T>(), head_bits(a, bits, index), grad,
                          scratch[0].data<T>(), scratch[1].data<T>());
          });
        });
        return {grad_q, grad_kv};
      });
}

}  // namespace rondo
