#include "ops/cpu/gemm.h"

#include <Eigen/Core>

#include "core/error.h"
#include "core/parallel.h"
#include "ops/cpu/gemm_bf16.h"

#ifdef RONDO_WITH_ONEDNN
#include <dnnl.h>
#endif

namespace rondo::cpu {
namespace {

template <typename T>
using RowMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <typename T>
using ConstView = Eigen::Map<const RowMajor<T>, Eigen::Unaligned, Eigen::OuterStride<>>;
template <typename T>
using View = Eigen::Map<RowMajor<T>, Eigen::Unaligned, Eigen::OuterStride<>>;

template <typename T>
void eigen_gemm(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n,
                std::int64_t k, T alpha, const T* a, std::int64_t lda, const T* b, std::int64_t ldb,
                T beta, T* c, std::int64_t ldc) {
  const bool at = transpose_a == Transpose::yes;
  const bool bt = transpose_b == Transpose::yes;
  const ConstView<T> a_view(a, at ? k : m, at ? m : k, Eigen::OuterStride<>(lda));
  const ConstView<T> b_view(b, bt ? n : k, bt ? k : n, Eigen::OuterStride<>(ldb));
  // Threads take rows of C. Which rows does not change any sum, so the bits do not depend on it.
  parallel_for(0, m, 16, [&](std::int64_t begin, std::int64_t end) {
    View<T> c_rows(c + begin * ldc, end - begin, n, Eigen::OuterStride<>(ldc));
    if (beta == T(0)) {
      c_rows.setZero();
    } else if (beta != T(1)) {
      c_rows *= beta;
    }
    const auto add = [&](const auto& a_rows) {
      if (bt) {
        c_rows.noalias() += alpha * (a_rows * b_view.transpose());
      } else {
        c_rows.noalias() += alpha * (a_rows * b_view);
      }
    };
    if (at) {
      add(a_view.middleCols(begin, end - begin).transpose());
    } else {
      add(a_view.middleRows(begin, end - begin));
    }
  });
}

}  // namespace

void gemm(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n,
          std::int64_t k, float alpha, const float* a, std::int64_t lda, const float* b,
          std::int64_t ldb, float beta, float* c, std::int64_t ldc, Precision precision) {
  if (m == 0 || n == 0) {
    return;
  }
  num_threads();  // oneDNN and Eigen ask OpenMP, which may know another number in this thread
  if (precision == Precision::bf16) {
    gemm_bf16(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    return;
  }
#ifdef RONDO_WITH_ONEDNN
  if (k > 0) {
    const char a_flag = transpose_a == Transpose::yes ? 'T' : 'N';
    const char b_flag = transpose_b == Transpose::yes ? 'T' : 'N';
    const dnnl_status_t status =
        dnnl_sgemm(a_flag, b_flag, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    check(status == dnnl_success, "[gemm] oneDNN refused a product of {} x {} x {} (status {})", m,
          n, k, static_cast<int>(status));
    return;
  }
#endif
  eigen_gemm(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void gemm(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n,
          std::int64_t k, double alpha, const double* a, std::int64_t lda, const double* b,
          std::int64_t ldb, double beta, double* c, std::int64_t ldc, Precision precision) {
  check(precision == Precision::f32, "[gemm] products of f64 tensors are not done in bf16");
  if (m == 0 || n == 0) {
    return;
  }
  num_threads();
  eigen_gemm(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

std::string_view gemm_backend() {
#ifdef RONDO_WITH_ONEDNN
  static const std::string text = [] {
    const dnnl_version_t* version = dnnl_version();
    return fmt::format("oneDNN {}.{}.{}", version->major, version->minor, version->patch);
  }();
#else
  static const std::string text =
      fmt::format("Eigen {}.{}.{}", EIGEN_WORLD_VERSION, EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION);
#endif
  return text;
}

}  // namespace rondo::cpu
