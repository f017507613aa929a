#include "ops/cpu/gemm_bf16.h"

#include "core/error.h"
#include "core/parallel.h"
#include "core/tensor.h"

#ifdef RONDO_WITH_ONEDNN
#include <dnnl.hpp>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#endif

namespace rondo::cpu {
namespace {

// A matrix as it is stored, rows `stride` apart, rounded into one without gaps.
template <typename T>
Tensor rounded(const float* from, std::int64_t rows, std::int64_t columns, std::int64_t stride,
               float factor) {
  Tensor result = Tensor::empty({rows, columns}, dtype_of<T>);
  T* to = result.data<T>();
  const std::int64_t grain = (std::int64_t{1} << 14) / std::max<std::int64_t>(columns, 1);
  parallel_for(0, rows, grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      round_to_bf16(from + row * stride, factor, columns, to + row * columns);
    }
  });
  return result;
}

#ifdef RONDO_WITH_ONEDNN

#if defined(__x86_64__)
struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(unsigned leaf) {
  Registers r;
  __get_cpuid_count(leaf, 0, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

bool is_intel_with_fp16() {
  const Registers vendor = cpuid(0);
  constexpr unsigned kGenu = 0x756e6547;  // "Genu" of "GenuineIntel"
  constexpr unsigned kAvx512Fp16 = 1U << 23U;
  return vendor.ebx == kGenu && (cpuid(7).edx & kAvx512Fp16) != 0;
}
#endif

dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::matmul make_product(const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                          const dnnl::memory::desc& c, bool adds) {
  dnnl::primitive_attr attributes;
  if (adds) {
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    attributes.set_post_ops(sum);
  }
  // oneDNN keeps what it has compiled: making the same product again is cheap.
#if DNNL_VERSION_MAJOR >= 3
  return dnnl::matmul(dnnl::matmul::primitive_desc(engine(), a, b, c, attributes));
#else
  return dnnl::matmul(
      dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, c), attributes, engine()));
#endif
}

#endif  // RONDO_WITH_ONEDNN

}  // namespace

bool has_bf16_products() {
#ifdef RONDO_WITH_ONEDNN
  static const bool has = [] {
    const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    return (isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
  }();
  return has;
#else
  return false;
#endif
}

bool bf16_products_are_fast() {
#if defined(RONDO_WITH_ONEDNN) && defined(__x86_64__)
  static const bool fast = [] {
    const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    const bool amx = (isa & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx;
    return has_bf16_products() && (amx || !is_intel_with_fp16());
  }();
  return fast;
#else
  return false;
#endif
}

void gemm_bf16_native(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n,
                      std::int64_t k, float alpha, const float* a, std::int64_t lda, const float* b,
                      std::int64_t ldb, float beta, float* c, std::int64_t ldc) {
#ifdef RONDO_WITH_ONEDNN
  using dnnl::memory;
  const bool at = transpose_a == Transpose::yes;
  const bool bt = transpose_b == Transpose::yes;
  Tensor a16 = rounded<bfloat16>(a, at ? k : m, at ? m : k, lda, alpha);
  Tensor b16 = rounded<bfloat16>(b, bt ? n : k, bt ? k : n, ldb, 1.0F);
  const auto desc = [](std::int64_t rows, std::int64_t columns, memory::data_type type,
                       bool transposed) {
    return memory::desc({rows, columns}, type,
                        transposed ? memory::format_tag::ba : memory::format_tag::ab);
  };
  const memory::desc a_desc = desc(m, k, memory::data_type::bf16, at);
  const memory::desc b_desc = desc(k, n, memory::data_type::bf16, bt);
  const memory::desc c_desc({m, n}, memory::data_type::f32, memory::dims{ldc, 1});
  try {
    const dnnl::matmul product = make_product(a_desc, b_desc, c_desc, beta != 0.0F);
    dnnl::stream stream(engine());
    product.execute(stream, {{DNNL_ARG_SRC, memory(a_desc, engine(), a16.raw())},
                             {DNNL_ARG_WEIGHTS, memory(b_desc, engine(), b16.raw())},
                             {DNNL_ARG_DST, memory(c_desc, engine(), c)}});
    stream.wait();
  } catch (const dnnl::error& error) {
    fail(
        "[gemm] oneDNN refused a bf16 product of {} x {} x {} ({}); train with "
        "training.precision f32",
        m, n, k, error.what());
  }
#else
  gemm_bf16_rounded(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
#endif
}

void gemm_bf16_rounded(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n,
                       std::int64_t k, float alpha, const float* a, std::int64_t lda,
                       const float* b, std::int64_t ldb, float beta, float* c, std::int64_t ldc) {
  const bool at = transpose_a == Transpose::yes;
  const bool bt = transpose_b == Transpose::yes;
  const Tensor a32 = rounded<float>(a, at ? k : m, at ? m : k, lda, alpha);
  const Tensor b32 = rounded<float>(b, bt ? n : k, bt ? k : n, ldb, 1.0F);
  gemm(transpose_a, transpose_b, m, n, k, 1.0F, a32.data<float>(), a32.size(1), b32.data<float>(),
       b32.size(1), beta, c, ldc);
}

void gemm_bf16(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n,
               std::int64_t k, float alpha, const float* a, std::int64_t lda, const float* b,
               std::int64_t ldb, float beta, float* c, std::int64_t ldc) {
  if (m == 0 || n == 0 || k == 0 || !bf16_products_are_fast()) {
    gemm_bf16_rounded(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  } else {
    gemm_bf16_native(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  }
}

}  // namespace rondo::cpu
