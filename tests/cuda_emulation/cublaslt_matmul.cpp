// Matrix products as cuBLASLt documents them. Column-major: element (i, j) of a matrix is at
// i + j * ld. What the real library rejects is rejected; what it may leave unnoticed (an algorithm
// used for another problem than it was found for, a misaligned pointer), too.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <mutex>
#include <type_traits>
#include <vector>

#include "core/half.h"
#include "ops/cpu/gemm.h"
#include "tests/cuda_emulation/cublaslt_handles.h"
#include "tests/cuda_emulation/device_memory.h"
#include "tests/cuda_emulation/environment.h"
#include "tests/cuda_emulation/runtime.h"

namespace {

using Layout = cublasLtMatrixLayoutOpaque_t;
using Description = cublasLtMatmulDescOpaque_t;

// The workspace that algorithms ask for, if they may have as much.
constexpr std::uint64_t kWorkspaceBytes = 1024;

struct Problem {
  const Description& description;
  const Layout& a;
  const Layout& b;
  const Layout& c;
  const Layout& d;

  bool transposes_a() const { return description.transpose_a != CUBLAS_OP_N; }
  bool transposes_b() const { return description.transpose_b != CUBLAS_OP_N; }
  std::uint64_t m() const { return transposes_a() ? a.columns : a.rows; }
  std::uint64_t k() const { return transposes_a() ? a.rows : a.columns; }
  std::uint64_t n() const { return transposes_b() ? b.rows : b.columns; }
  std::uint64_t k_of_b() const { return transposes_b() ? b.columns : b.rows; }
  bool has_bias() const { return description.epilogue == CUBLASLT_EPILOGUE_BIAS; }
  std::uint32_t bias_type() const {
    return description.bias_type < 0 ? d.type : static_cast<std::uint32_t>(description.bias_type);
  }
};

std::size_t size_of(std::uint32_t type) {
  return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2;
}

// The table of types in cuBLASLt's documentation of cublasLtMatmul.
bool types_are_supported(const Problem& p) {
  const Description& description = p.description;
  const std::uint32_t operands = p.a.type;
  if (p.b.type != operands || p.c.type != p.d.type || p.bias_type() != p.d.type) {
    return false;
  }
  switch (description.compute) {
    case CUBLAS_COMPUTE_64F:
      return description.scale == CUDA_R_64F && operands == CUDA_R_64F && p.d.type == operands &&
             !p.has_bias();
    case CUBLAS_COMPUTE_32F_FAST_TF32:
      return description.scale == CUDA_R_32F && operands == CUDA_R_32F && p.d.type == operands;
    case CUBLAS_COMPUTE_32F:
      return description.scale == CUDA_R_32F && operands != CUDA_R_64F &&
             (p.d.type == operands || p.d.type == CUDA_R_32F);
    default:
      return false;
  }
}

bool layout_is_valid(const Layout& layout) {
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max());
  return layout.rows >= 1 && layout.columns >= 1 && layout.rows <= kMost &&
         layout.columns <= kMost && layout.ld >= static_cast<std::int64_t>(layout.rows) &&
         layout.batch >= 1 && layout.stride >= 0;
}

cublasStatus_t check(const Problem& p) {
  for (const Layout* layout : {&p.a, &p.b, &p.c, &p.d}) {
    if (!layout_is_valid(*layout) || layout->batch != p.d.batch) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (layout->order != CUBLASLT_ORDER_COL) {
      return CUBLAS_STATUS_NOT_SUPPORTED;
    }
  }
  if (p.k() != p.k_of_b() || p.d.rows != p.m() || p.d.columns != p.n() || p.c.rows != p.d.rows ||
      p.c.columns != p.d.columns) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const bool known_epilogue = p.has_bias() || p.description.epilogue == CUBLASLT_EPILOGUE_DEFAULT;
  return p.description.transpose_c == CUBLAS_OP_N && known_epilogue && types_are_supported(p)
             ? CUBLAS_STATUS_SUCCESS
             : CUBLAS_STATUS_NOT_SUPPORTED;
}

// What an algorithm was found for, in one number.
std::uint64_t fingerprint(const Problem& p) {
  std::uint64_t hash = 0;
  const auto add = [&](auto value) {
    hash = (hash ^ static_cast<std::uint64_t>(value)) * 0x9E3779B97F4A7C15U;
    hash ^= hash >> 32U;
  };
  for (const Layout* layout : {&p.a, &p.b, &p.c, &p.d}) {
    add(layout->type);
    add(layout->rows);
    add(layout->columns);
    add(layout->ld);
    add(layout->batch);
    add(layout->stride);
  }
  add(p.description.compute);
  add(p.description.transpose_a);
  add(p.description.transpose_b);
  add(p.description.epilogue);
  return hash;
}

// What an algorithm needs, as it is kept in cublasLtMatmulAlgo_t.
struct Algorithm {
  std::uint64_t problem;
  std::uint64_t place;  // among those that the heuristic gave
  std::uint64_t workspace_bytes;
  std::uint64_t alignment_a, alignment_b, alignment_c, alignment_d;
};

// Whether the environment wants an algorithm that was proposed to be refused: the first of each
// problem (1), also all that add a bias (2), or all (3).
bool is_refused(const Algorithm& algorithm, const Problem& problem) {
  const long refused = cuda_emulation::setting("RONDO_EMULATION_REFUSED", 0);
  return refused >= 3 || (refused >= 2 && problem.has_bias()) ||
         (refused >= 1 && algorithm.place == 0);
}

bool is_aligned(const void* pointer, std::uint64_t bytes) {
  return bytes == 0 || reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

// Whether a matrix is where a kernel can reach all of it.
bool is_there(const void* first, std::uint32_t type, std::size_t elements) {
  return first != nullptr && is_aligned(first, size_of(type)) &&
         cuda_emulation::on_device(first, elements * size_of(type));
}

double load(const void* first, std::uint32_t type, std::size_t index) {
  switch (type) {
    case CUDA_R_64F:
      return static_cast<const double*>(first)[index];
    case CUDA_R_32F:
      return static_cast<const float*>(first)[index];
    case CUDA_R_16BF:
      return static_cast<float>(static_cast<const rondo::bfloat16*>(first)[index]);
    default:
      return static_cast<float>(static_cast<const rondo::float16*>(first)[index]);
  }
}

void store(void* first, std::uint32_t type, std::size_t index, double value) {
  switch (type) {
    case CUDA_R_64F:
      static_cast<double*>(first)[index] = value;
      break;
    case CUDA_R_32F:
      static_cast<float*>(first)[index] = static_cast<float>(value);
      break;
    case CUDA_R_16BF:
      static_cast<rondo::bfloat16*>(first)[index] = rondo::bfloat16(static_cast<float>(value));
      break;
    default:
      static_cast<rondo::float16*>(first)[index] = rondo::float16(static_cast<float>(value));
  }
}

// To the ten bits of fraction that TF32 keeps; to nearest, ties away from zero.
float rounded_to_tf32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::isfinite(value) ? std::bit_cast<float>((bits + 0x1000U) & 0xFFFFE000U) : value;
}

// op(matrix), row-major and packed.
template <typename T>
std::vector<T> gather(const void* first, const Layout& layout, std::size_t offset, bool transposes,
                      bool tf32) {
  std::vector<T> packed(layout.rows * layout.columns);
  for (std::size_t j = 0; j < layout.columns; ++j) {
    for (std::size_t i = 0; i < layout.rows; ++i) {
      auto value = static_cast<T>(
          load(first, layout.type, offset + i + j * static_cast<std::size_t>(layout.ld)));
      if constexpr (std::is_same_v<T, float>) {
        value = tf32 ? rounded_to_tf32(value) : value;
      }
      packed[transposes ? j * layout.rows + i : i * layout.columns + j] = value;
    }
  }
  return packed;
}

// T is the type of sums, alpha and beta.
template <typename T>
void multiply(const Problem& p, T alpha, const void* a, const void* b, T beta, const void* c,
              void* d) {
  using rondo::cpu::Transpose;
  const bool tf32 = p.description.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  const auto m = static_cast<std::int64_t>(p.m());
  const auto n = static_cast<std::int64_t>(p.n());
  const auto k = static_cast<std::int64_t>(p.k());
  std::vector<T> sums(p.m() * p.n());
  for (std::int32_t batch = 0; batch < p.d.batch; ++batch) {
    const auto offset = [&](const Layout& layout) {
      return static_cast<std::size_t>(batch * layout.stride);
    };
    const std::vector<T> left = gather<T>(a, p.a, offset(p.a), p.transposes_a(), tf32);
    const std::vector<T> right = gather<T>(b, p.b, offset(p.b), p.transposes_b(), tf32);
    rondo::cpu::gemm(Transpose::no, Transpose::no, m, n, k, T(1), left.data(), k, right.data(), n,
                     T(0), sums.data(), n);
    for (std::size_t j = 0; j < p.n(); ++j) {
      for (std::size_t i = 0; i < p.m(); ++i) {
        T value = alpha * sums[i * p.n() + j];
        if (beta != T(0)) {
          const std::size_t at = offset(p.c) + i + j * static_cast<std::size_t>(p.c.ld);
          value += beta * static_cast<T>(load(c, p.c.type, at));
        }
        if (p.has_bias()) {
          value += static_cast<T>(load(p.description.bias, p.bias_type(), i));
        }
        store(d, p.d.type, offset(p.d) + i + j * static_cast<std::size_t>(p.d.ld), value);
      }
    }
  }
}

}  // namespace

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle,
                                              cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* returned) {
  *returned = 0;
  if (handle == nullptr) {
    return CUBLAS_STATUS_NOT_INITIALIZED;
  }
  if (requested < 1) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const Problem problem{*description, *a, *b, *c, *d};
  if (const cublasStatus_t status = check(problem); status != CUBLAS_STATUS_SUCCESS) {
    return status;
  }
  Algorithm algorithm{fingerprint(problem),
                      0,
                      std::min(preference->workspace_bytes, kWorkspaceBytes),
                      preference->alignment_a,
                      preference->alignment_b,
                      preference->alignment_c,
                      preference->alignment_d};
  *returned = std::min(requested, 2);
  for (int i = 0; i < *returned; ++i) {
    algorithm.place = static_cast<std::uint64_t>(i);
    results[i] = {};
    std::memcpy(&results[i].algo, &algorithm, sizeof(algorithm));
    results[i].workspaceSize = algorithm.workspace_bytes;
    results[i].state = CUBLAS_STATUS_SUCCESS;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t description,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, std::size_t workspace_bytes, cudaStream_t stream) {
  const int device = cuda_emulation::current_device();
  if (handle == nullptr || handle->device != device) {
    return CUBLAS_STATUS_NOT_INITIALIZED;
  }
  const Problem p{*description, *a_layout, *b_layout, *c_layout, *d_layout};
  if (const cublasStatus_t status = check(p); status != CUBLAS_STATUS_SUCCESS) {
    return status;
  }
  Algorithm algorithm{};
  if (algo != nullptr) {
    std::memcpy(&algorithm, algo, sizeof(algorithm));
    if (algorithm.problem != fingerprint(p)) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (is_refused(algorithm, p)) {
      return CUBLAS_STATUS_NOT_SUPPORTED;
    }
  }
  if (alpha == nullptr || beta == nullptr || workspace_bytes < algorithm.workspace_bytes ||
      !is_aligned(a, algorithm.alignment_a) || !is_aligned(b, algorithm.alignment_b) ||
      !is_aligned(c, algorithm.alignment_c) || !is_aligned(d, algorithm.alignment_d) ||
      !is_aligned(workspace, 16) || (c == d && !(p.c == p.d))) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }

  const std::lock_guard lock(cuda_emulation::device_mutex());
  if (!cuda_emulation::runs_on(stream, device)) {
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  if (cuda_emulation::is_recorded(stream)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;  // by the emulation
  }
  const bool on_device = description->pointer_mode == CUBLASLT_POINTER_MODE_DEVICE;
  const auto scale = static_cast<std::uint32_t>(description->scale);
  for (const void* scalar : {alpha, beta}) {
    if (on_device != cuda_emulation::touches_device(scalar, size_of(scale))) {
      return CUBLAS_STATUS_EXECUTION_FAILED;
    }
  }
  const cuda_emulation::DeviceAccess access(device);
  const double alpha_value = load(alpha, scale, 0);
  const double beta_value = load(beta, scale, 0);
  if (!is_there(a, p.a.type, p.a.elements()) || !is_there(b, p.b.type, p.b.elements()) ||
      !is_there(d, p.d.type, p.d.elements()) ||
      (beta_value != 0 && !is_there(c, p.c.type, p.c.elements())) ||
      (p.has_bias() && !is_there(description->bias, p.bias_type(), p.m())) ||
      (algorithm.workspace_bytes > 0 &&
       !cuda_emulation::on_device(workspace, algorithm.workspace_bytes))) {
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  // Whatever else is kept there is lost.
  if (algorithm.workspace_bytes > 0) {
    std::memset(workspace, 0xFF, algorithm.workspace_bytes);
  }
  if (description->compute == CUBLAS_COMPUTE_64F) {
    multiply(p, alpha_value, a, b, beta_value, c, d);
  } else {
    multiply(p, static_cast<float>(alpha_value), a, b, static_cast<float>(beta_value), c, d);
  }
  return CUBLAS_STATUS_SUCCESS;
}
