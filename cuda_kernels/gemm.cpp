// cuBLASLt counts column-major. A row-major matrix is its transpose stored column-major, with the
// same leading dimension, so C = op(A) op(B) is asked for as C^T = op(B)^T op(A)^T: our B is
// cuBLASLt's A, our n its m, and what is transposed stays transposed.
#include "cuda_kernels/gemm.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "core/allocator.h"
#include "core/cuda_call.h"
#include "cuda_kernels/cublaslt.h"
#include "cuda_kernels/linear.h"

namespace rondo::cuda {
namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20U;  // what NVIDIA advises for Hopper

// "C (5, 7) f32 = A (5, 3) B (7, 3)^T bf16, rows 5, 3 and 7 apart", for messages.
std::string describe(const Gemm& p) {
  const auto operand = [](Transpose transpose, std::int64_t rows, std::int64_t columns) {
    return transpose == Transpose::yes ? fmt::format("({}, {})^T", columns, rows)
                                       : fmt::format("({}, {})", rows, columns);
  };
  return fmt::format(
      "C ({}, {}) {} = A {} B {} {}{}, batch {}, leading dimensions A {}, B {}, C {}", p.m, p.n,
      name(p.result), operand(p.transpose_a, p.m, p.k), operand(p.transpose_b, p.k, p.n),
      name(p.operands), p.bias != nullptr ? " + bias" : "", p.batch, p.lda, p.ldb, p.ldc);
}

void check_status(cublasStatus_t status, std::string_view call, const Gemm& product) {
  check(status == CUBLAS_STATUS_SUCCESS, "[gemm] cuBLASLt reports {} from {} for {}",
        cublaslt().get_status_name(status), call, describe(product));
}

cudaDataType_t native(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return CUDA_R_32F;
    case DType::f64:
      return CUDA_R_64F;
    case DType::bf16:
      return CUDA_R_16BF;
    case DType::f16:
      return CUDA_R_16F;
    default:
      fail("[gemm] matrices of {} are not multiplied on GPUs; expected f32, f64, bf16 or f16",
           name(dtype));
  }
}

// The largest power of two up to 16, the widest load there is, that divides an address.
std::uint32_t alignment(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer) | 16U;
  return static_cast<std::uint32_t>(address & (~address + 1));
}

// Whether cuBLASLt is asked to add the bias. Its kernels read it 16 bytes at a time; f64 is for
// gradient checks and not worth the question.
bool asks_for_bias(const Gemm& p) {
  return p.bias != nullptr && alignment(p.bias) == 16 && p.result != DType::f64;
}

// TF32 is a mode of products of f32; of others it means nothing.
bool uses_tf32(const Gemm& p) { return p.tf32 && p.operands == DType::f32; }

// All that the choice of an algorithm depends on.
using Key = std::array<std::int64_t, 19>;

Key key_of(const Gemm& p) {
  return {p.m,
          p.n,
          p.k,
          p.lda,
          p.ldb,
          p.ldc,
          p.batch,
          p.stride_a,
          p.stride_b,
          p.stride_c,
          static_cast<std::int64_t>(p.operands),
          static_cast<std::int64_t>(p.result),
          p.transpose_a == Transpose::yes,
          p.transpose_b == Transpose::yes,
          uses_tf32(p),
          p.beta == 0.0,
          asks_for_bias(p),
          alignment(p.a) * 256 + alignment(p.b),
          alignment(p.c)};
}

struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::uint64_t hash = 0;
    for (const std::int64_t value : key) {
      hash = (hash ^ static_cast<std::uint64_t>(value)) * 0x9e3779b97f4a7c15U;
      hash ^= hash >> 32U;
    }
    return static_cast<std::size_t>(hash);
  }
};

template <typename Handle>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, cublasStatus_t (*)(Handle)>;
using Description = Owned<cublasLtMatmulDesc_t>;
using Layout = Owned<cublasLtMatrixLayout_t>;

// How one kind of product is computed.
struct Plan {
  Description description;
  Layout a, b, c;                                // cuBLASLt's A and B: our B and A
  std::vector<cublasLtMatmulAlgo_t> algorithms;  // the fastest first, as cuBLASLt expects
  std::size_t chosen = 0;                        // those before have been refused
  bool adds_bias;
};

Layout make_layout(const Gemm& p, DType dtype, std::int64_t rows, std::int64_t columns,
                   std::int64_t ld, std::int64_t stride) {
  const CublasLt& lt = cublaslt();
  cublasLtMatrixLayout_t handle = nullptr;
  check_status(lt.matrix_layout_create(&handle, native(dtype), static_cast<std::uint64_t>(columns),
                                       static_cast<std::uint64_t>(rows), ld),
               "cublasLtMatrixLayoutCreate", p);
  Layout layout(handle, lt.matrix_layout_destroy);
  const auto set = [&](cublasLtMatrixLayoutAttribute_t attribute, auto value) {
    check_status(lt.matrix_layout_set_attribute(handle, attribute, &value, sizeof(value)),
                 "cublasLtMatrixLayoutSetAttribute", p);
  };
  if (p.batch > 1) {
    set(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(p.batch));
    set(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, stride);
  }
  return layout;
}

Description make_description(const Gemm& p, bool adds_bias) {
  const CublasLt& lt = cublaslt();
  const bool wide = p.operands == DType::f64;
  cublasLtMatmulDesc_t handle = nullptr;
  check_status(lt.matmul_desc_create(&handle,
                                     wide           ? CUBLAS_COMPUTE_64F
                                     : uses_tf32(p) ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                    : CUBLAS_COMPUTE_32F,
                                     wide ? CUDA_R_64F : CUDA_R_32F),
               "cublasLtMatmulDescCreate", p);
  Description description(handle, lt.matmul_desc_destroy);
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, auto value) {
    check_status(lt.matmul_desc_set_attribute(handle, attribute, &value, sizeof(value)),
                 "cublasLtMatmulDescSetAttribute", p);
  };
  const auto operation = [](Transpose transpose) {
    return static_cast<std::int32_t>(transpose == Transpose::yes ? CUBLAS_OP_T : CUBLAS_OP_N);
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, operation(p.transpose_b));
  set(CUBLASLT_MATMUL_DESC_TRANSB, operation(p.transpose_a));
  if (adds_bias) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(CUBLASLT_EPILOGUE_BIAS));
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);  // the heuristic looks at its alignment
  }
  return description;
}

Owned<cublasLtMatmulPreference_t> make_preference(const Gemm& p) {
  const CublasLt& lt = cublaslt();
  cublasLtMatmulPreference_t handle = nullptr;
  check_status(lt.matmul_preference_create(&handle), "cublasLtMatmulPreferenceCreate", p);
  Owned<cublasLtMatmulPreference_t> preference(handle, lt.matmul_preference_destroy);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    check_status(lt.matmul_preference_set_attribute(handle, attribute, &value, sizeof(value)),
                 "cublasLtMatmulPreferenceSetAttribute", p);
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::uint64_t>(kWorkspaceBytes));
  // The inner dimension may be split, as gradients of weights need it, only where the parts' sums
  // are kept apart, in the type of the arithmetic, and added in a step of their own, whose order is
  // fixed. In-place reductions add up in C in whatever order blocks get there; those in the type
  // of C round halves on the way. (Not splitting at all has no bit here and is always allowed.)
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(p.b));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(p.a));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(p.c));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(p.c));
  return preference;
}

// Nothing when cuBLASLt has no algorithm.
std::optional<Plan> try_plan(const Gemm& p, cublasLtHandle_t handle, bool adds_bias) {
  const auto layout = [&](DType dtype, Transpose transpose, std::int64_t rows, std::int64_t columns,
                          std::int64_t ld, std::int64_t stride) {
    return transpose == Transpose::yes ? make_layout(p, dtype, columns, rows, ld, stride)
                                       : make_layout(p, dtype, rows, columns, ld, stride);
  };
  Plan plan{make_description(p, adds_bias),
            layout(p.operands, p.transpose_b, p.k, p.n, p.ldb, p.stride_b),
            layout(p.operands, p.transpose_a, p.m, p.k, p.lda, p.stride_a),
            layout(p.result, Transpose::no, p.m, p.n, p.ldc, p.stride_c),
            {},
            0,
            adds_bias};
  const auto preference = make_preference(p);
  std::array<cublasLtMatmulHeuristicResult_t, 8> found{};
  int count = 0;
  const cublasStatus_t status = cublaslt().matmul_algo_get_heuristic(
      handle, plan.description.get(), plan.a.get(), plan.b.get(), plan.c.get(), plan.c.get(),
      preference.get(), static_cast<int>(found.size()), found.data(), &count);
  if (status != CUBLAS_STATUS_NOT_SUPPORTED && !adds_bias) {
    check_status(status, "cublasLtMatmulAlgoGetHeuristic", p);
  }
  for (int i = 0; i < count; ++i) {
    const auto& result = found[static_cast<std::size_t>(i)];
    if (result.state == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= kWorkspaceBytes) {
      plan.algorithms.push_back(result.algo);
    }
  }
  if (plan.algorithms.empty()) {
    return std::nullopt;
  }
  return plan;
}

// What a device's products share. Plans are kept for good: there are as many as there are shapes in
// a model, and a kilobyte holds one.
struct Products {
  std::mutex mutex;
  cublasLtHandle_t handle = nullptr;
  void* workspace = nullptr;  // in use by one product at a time, for one stream orders them all
  std::unordered_map<Key, Plan, KeyHash> plans;

  Plan& plan_for(const Gemm& p) {
    const auto known = plans.find(key_of(p));
    if (known != plans.end()) {
      return known->second;
    }
    if (asks_for_bias(p)) {
      if (std::optional<Plan> plan = try_plan(p, handle, true)) {
        return plans.insert_or_assign(key_of(p), *std::move(plan)).first->second;
      }
    }
    return plan_without_bias(p);
  }
  // Takes the place of another plan for p.
  Plan& plan_without_bias(const Gemm& p) {
    std::optional<Plan> plan = try_plan(p, handle, false);
    check(plan.has_value(), "[gemm] {} has no algorithm for {}", gemm_backend(), describe(p));
    return plans.insert_or_assign(key_of(p), *std::move(plan)).first->second;
  }
};

// Those of the current device, made when first asked for and never destroyed, as its stream is.
Products& products(const Gemm& p) {
  static std::mutex mutex;
  static auto* const all = new std::map<int, Products>();
  int device = 0;
  check_call("gemm", cudaGetDevice(&device));
  const std::lock_guard lock(mutex);
  Products& found = (*all)[device];
  if (found.handle == nullptr) {
    if (found.workspace == nullptr) {
      found.workspace = allocator(Device::cuda(device)).allocate(kWorkspaceBytes);
    }
    check_status(cublaslt().create(&found.handle), "cublasLtCreate", p);
  }
  return found;
}

// C = factor * C + bias, for what cuBLASLt does not do.
void scale_and_add_bias(const Gemm& p, double factor, Stream stream) {
  dispatch_floating(p.result, "gemm", [&]<typename T>(Type<T>) {
    scale_add_bias(ScaleAddBias<T>{factor, static_cast<const T*>(p.bias), static_cast<T*>(p.c),
                                   p.batch, p.m, p.n, p.ldc, p.stride_c},
                   stream);
  });
}

// Computes p without the bias, or with it if the plan adds it.
cublasStatus_t multiply(const Products& shared, const Plan& plan, const Gemm& p, Stream stream) {
  if (plan.adds_bias) {
    check_status(
        cublaslt().matmul_desc_set_attribute(
            plan.description.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p.bias, sizeof(p.bias)),
        "cublasLtMatmulDescSetAttribute", p);
  }
  const auto with = [&](auto alpha, auto beta) {
    return cublaslt().matmul(shared.handle, plan.description.get(), &alpha, p.b, plan.a.get(), p.a,
                             plan.b.get(), &beta, p.c, plan.c.get(), p.c, plan.c.get(),
                             &plan.algorithms[plan.chosen], shared.workspace, kWorkspaceBytes,
                             native(stream));
  };
  return p.operands == DType::f64 ? with(p.alpha, p.beta)
                                  : with(static_cast<float>(p.alpha), static_cast<float>(p.beta));
}

// Goes on to the next algorithms while they are refused, which happens before any work: what the
// heuristic proposes for odd alignments, it need not have tried. The choice stays with the plan.
cublasStatus_t multiply_with_any(const Products& shared, Plan& plan, const Gemm& p, Stream stream) {
  cublasStatus_t status = multiply(shared, plan, p, stream);
  while ((status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) &&
         plan.chosen + 1 < plan.algorithms.size()) {
    ++plan.chosen;
    status = multiply(shared, plan, p, stream);
  }
  return status;
}

}  // namespace

void gemm(const Gemm& p, Stream stream) {
  if (p.m == 0 || p.n == 0 || p.batch == 0) {
    return;
  }
  if (p.k == 0) {
    scale_and_add_bias(p, p.beta, stream);
    return;
  }
  Products& shared = products(p);
  const std::lock_guard lock(shared.mutex);
  Plan* plan = &shared.plan_for(p);
  cublasStatus_t status = multiply_with_any(shared, *plan, p, stream);
  if (plan->adds_bias &&
      (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE)) {
    plan = &shared.plan_without_bias(p);
    status = multiply_with_any(shared, *plan, p, stream);
  }
  check_status(status, "cublasLtMatmul", p);
  if (p.bias != nullptr && !plan->adds_bias) {
    scale_and_add_bias(p, 1.0, stream);
  }
}

std::string gemm_backend() {
  const std::size_t version = cublaslt().get_version();
  return fmt::format("cuBLASLt {}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
}

}  // namespace rondo::cuda
