// The emulated cuBLASLt against its documentation: D = alpha * op(A) op(B) + beta * C (+ bias),
// where element (i, j) of a matrix is at i + j * ld.
#include <cublasLt.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "core/half.h"
#include "cuda_kernels/gemm.h"
#include "tests/cuda_emulation/test_buffer.h"
#include "tests/cuda_emulation/test_setting.h"
#include "tests/support/catch.h"

namespace cuda_emulation {
namespace {

template <typename Handle>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, cublasStatus_t (*)(Handle)>;

template <typename T>
constexpr cudaDataType_t kType = std::is_same_v<T, double>            ? CUDA_R_64F
                                 : std::is_same_v<T, float>           ? CUDA_R_32F
                                 : std::is_same_v<T, rondo::bfloat16> ? CUDA_R_16BF
                                                                      : CUDA_R_16F;

// A product of small sizes, each of its parts to be spoilt. T is the type of A and B, R of C and D.
template <typename T, typename R = T>
struct Product {
  using Scale = std::conditional_t<std::is_same_v<T, double>, double, float>;

  cublasOperation_t transpose_a = CUBLAS_OP_N;
  cublasOperation_t transpose_b = CUBLAS_OP_N;
  std::int64_t m = 5, n = 3, k = 4;
  std::int64_t extra = 2;  // leading dimensions beyond the rows
  std::int32_t batch = 2;
  Scale alpha = 0.5, beta = 2;
  bool biased = false;
  bool scalars_on_device = false;
  cublasComputeType_t compute = std::is_same_v<T, double> ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F;
  std::uint64_t workspace_bytes = 4096;
  std::int64_t algorithm_n = 0;  // find the algorithm for another n
  std::size_t first_a = 0;       // where A begins in its block
  Scale shift = 0;               // added to A, and to be rounded away

  std::int64_t rows_a() const { return transpose_a == CUBLAS_OP_N ? m : k; }
  std::int64_t columns_a() const { return transpose_a == CUBLAS_OP_N ? k : m; }
  std::int64_t rows_b() const { return transpose_b == CUBLAS_OP_N ? k : n; }
  std::int64_t columns_b() const { return transpose_b == CUBLAS_OP_N ? n : k; }

  // Small whole numbers other than 0, so that every type has them and their products exactly.
  template <typename V>
  static std::vector<V> numbers(std::int64_t count, int seed) {
    std::vector<V> values(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto number = static_cast<int>((i * 7 + static_cast<std::size_t>(seed)) % 5) - 2;
      values[i] = V(static_cast<float>(number < 0 ? number : number + 1));
    }
    return values;
  }

  Owned<cublasLtMatrixLayout_t> layout(cudaDataType_t type, std::int64_t rows,
                                       std::int64_t columns) const {
    cublasLtMatrixLayout_t handle = nullptr;
    REQUIRE(cublasLtMatrixLayoutCreate(&handle, type, static_cast<std::uint64_t>(rows),
                                       static_cast<std::uint64_t>(columns),
                                       rows + extra) == CUBLAS_STATUS_SUCCESS);
    const std::int64_t stride = (rows + extra) * columns;
    cublasLtMatrixLayoutSetAttribute(handle, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch,
                                     sizeof(batch));
    cublasLtMatrixLayoutSetAttribute(handle, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride,
                                     sizeof(stride));
    return {handle, cublasLtMatrixLayoutDestroy};
  }

  // Computes it, and checks the result if that succeeds.
  cublasStatus_t run() const {
    const auto stored = [&](std::int64_t rows, std::int64_t columns) {
      return (rows + extra) * columns * batch;
    };
    const std::vector<T> a = numbers<T>(stored(rows_a(), columns_a()), 1);
    const std::vector<T> b = numbers<T>(stored(rows_b(), columns_b()), 2);
    const std::vector<R> c = numbers<R>(stored(m, n), 3);
    const std::vector<R> bias = numbers<R>(m, 4);
    std::vector<T> a_stored(first_a);
    for (const T value : a) {
      a_stored.push_back(T(static_cast<Scale>(value) + shift));
    }
    const Buffer<T> a_there(a_stored);
    const Buffer<T> b_there(b);
    const Buffer<R> d_there(c);
    const Buffer<R> bias_there(bias);
    const Buffer<Scale> scalars(std::vector<Scale>{alpha, beta});
    const Buffer<char> workspace(workspace_bytes);

    cublasLtHandle_t handle = nullptr;
    REQUIRE(cublasLtCreate(&handle) == CUBLAS_STATUS_SUCCESS);
    const Owned<cublasLtHandle_t> library(handle, cublasLtDestroy);
    cublasLtMatmulDesc_t description = nullptr;
    REQUIRE(cublasLtMatmulDescCreate(&description, compute, kType<Scale>) == CUBLAS_STATUS_SUCCESS);
    const Owned<cublasLtMatmulDesc_t> owned(description, cublasLtMatmulDescDestroy);
    const auto set = [&](cublasLtMatmulDescAttributes_t attribute, auto value) {
      REQUIRE(cublasLtMatmulDescSetAttribute(description, attribute, &value, sizeof(value)) ==
              CUBLAS_STATUS_SUCCESS);
    };
    set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<std::int32_t>(transpose_a));
    set(CUBLASLT_MATMUL_DESC_TRANSB, static_cast<std::int32_t>(transpose_b));
    if (biased) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(CUBLASLT_EPILOGUE_BIAS));
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(bias_there.data()));
    }
    if (scalars_on_device) {
      set(CUBLASLT_MATMUL_DESC_POINTER_MODE,
          static_cast<std::int32_t>(CUBLASLT_POINTER_MODE_DEVICE));
    }
    const auto a_layout = layout(kType<T>, rows_a(), columns_a());
    const auto b_layout = layout(kType<T>, rows_b(), columns_b());
    const auto d_layout = layout(kType<R>, m, n);
    cublasLtMatmulPreference_t preference = nullptr;
    REQUIRE(cublasLtMatmulPreferenceCreate(&preference) == CUBLAS_STATUS_SUCCESS);
    const Owned<cublasLtMatmulPreference_t> preferences(preference,
                                                        cublasLtMatmulPreferenceDestroy);
    const std::uint64_t most = 4096;
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                         &most, sizeof(most));
    Product other = *this;
    other.n = algorithm_n > 0 ? algorithm_n : n;
    const auto other_b = other.layout(kType<T>, other.rows_b(), other.columns_b());
    const auto other_d = other.layout(kType<R>, m, other.n);
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    const cublasStatus_t searched =
        cublasLtMatmulAlgoGetHeuristic(handle, description, a_layout.get(), other_b.get(),
                                       other_d.get(), other_d.get(), preference, 1, &found, &count);
    if (searched != CUBLAS_STATUS_SUCCESS) {
      return searched;
    }
    REQUIRE(count == 1);
    const void* const alpha_there = scalars_on_device ? scalars.data() : &alpha;
    const void* const beta_there = scalars_on_device ? scalars.data() + 1 : &beta;
    const cublasStatus_t status = cublasLtMatmul(
        handle, description, alpha_there, a_there.data() + first_a, a_layout.get(), b_there.data(),
        b_layout.get(), beta_there, d_there.data(), d_layout.get(), d_there.data(), d_layout.get(),
        &found.algo, workspace.data(), workspace_bytes, rondo::cuda::native(work()));
    if (status == CUBLAS_STATUS_SUCCESS) {
      check(a, b, c, bias, d_there.read());
    }
    return status;
  }

  void check(const std::vector<T>& a, const std::vector<T>& b, const std::vector<R>& c,
             const std::vector<R>& bias, const std::vector<R>& d) const {
    const auto at = [&](const auto& values, std::int64_t rows, std::int64_t columns,
                        std::int64_t item, std::int64_t i, std::int64_t j) {
      return static_cast<double>(static_cast<Scale>(values[static_cast<std::size_t>(
          item * (rows + extra) * columns + i + j * (rows + extra))]));
    };
    for (std::int64_t item = 0; item < batch; ++item) {
      for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t j = 0; j < n; ++j) {
          double sum = 0.0;
          for (std::int64_t p = 0; p < k; ++p) {
            const bool swap_a = transpose_a != CUBLAS_OP_N;
            const bool swap_b = transpose_b != CUBLAS_OP_N;
            sum += at(a, rows_a(), columns_a(), item, swap_a ? p : i, swap_a ? i : p) *
                   at(b, rows_b(), columns_b(), item, swap_b ? j : p, swap_b ? p : j);
          }
          double expected = alpha * sum;
          expected += beta == 0 ? 0.0 : beta * at(c, m, n, item, i, j);
          expected +=
              biased ? static_cast<double>(static_cast<Scale>(bias[static_cast<std::size_t>(i)]))
                     : 0.0;
          CAPTURE(item, i, j);
          REQUIRE(at(d, m, n, item, i, j) == expected);
        }
      }
    }
    if (extra > 0) {  // what lies between the columns is nobody's
      REQUIRE(static_cast<Scale>(d[static_cast<std::size_t>(m)]) ==
              static_cast<Scale>(c[static_cast<std::size_t>(m)]));
    }
  }
};

template <typename T, typename R = T>
void check_all_forms() {
  for (const cublasOperation_t transpose_a : {CUBLAS_OP_N, CUBLAS_OP_T}) {
    for (const cublasOperation_t transpose_b : {CUBLAS_OP_N, CUBLAS_OP_T}) {
      for (const float beta : {0.0F, 2.0F}) {
        Product<T, R> product;
        product.transpose_a = transpose_a;
        product.transpose_b = transpose_b;
        product.beta = beta;
        product.biased = !std::is_same_v<T, double>;
        CHECK(product.run() == CUBLAS_STATUS_SUCCESS);
        product.scalars_on_device = true;
        CHECK(product.run() == CUBLAS_STATUS_SUCCESS);
      }
    }
  }
}

TEST_CASE("Products of every type and form are those of the formula") {
  check_all_forms<float>();
  check_all_forms<double>();
  check_all_forms<rondo::bfloat16>();
  check_all_forms<rondo::bfloat16, float>();
  check_all_forms<rondo::float16>();
  check_all_forms<rondo::float16, float>();
}

TEST_CASE("TF32 rounds operands, and is for float alone") {
  Product<float> product;
  product.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
  product.shift = 0x1p-12F;  // a quarter of the last place of 1
  CHECK(product.run() == CUBLAS_STATUS_SUCCESS);
  Product<rondo::bfloat16> halves;
  halves.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
  CHECK(halves.run() == CUBLAS_STATUS_NOT_SUPPORTED);
  Product<float> wide;
  wide.compute = CUBLAS_COMPUTE_64F;
  CHECK(wide.run() == CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_CASE("Types, sizes and scalars that do not fit are refused") {
  const auto status = [](auto change) {
    Product<float> product;
    change(product);
    return product.run();
  };
  CHECK(status([](auto&) {}) == CUBLAS_STATUS_SUCCESS);
  CHECK(status([](auto& p) { p.extra = -1; }) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(status([](auto& p) { p.workspace_bytes = 16; }) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(status([](auto& p) { p.algorithm_n = 7; }) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(status([](auto& p) { p.first_a = 1; }) == CUBLAS_STATUS_INVALID_VALUE);  // not as promised
  CHECK(Product<float, rondo::bfloat16>().run() == CUBLAS_STATUS_NOT_SUPPORTED);
  Product<double> biased;
  biased.biased = true;
  CHECK(biased.run() == CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_CASE("A product that is refused is computed by the next algorithm, and a bias added apart") {
  const Buffer<float> a(std::vector<float>{1, 2});
  const Buffer<float> b(std::vector<float>{3, 4});
  const Buffer<float> bias(std::vector<float>(4, 0.5F));
  const Buffer<float> c(std::vector<float>(4, 0.0F));
  rondo::cuda::Gemm product;
  product.n = 2;
  product.k = 1;
  product.a = a.data();
  product.b = b.data();
  product.bias = bias.data();
  product.c = c.data();
  product.lda = 1;
  product.ldb = product.ldc = 2;
  const auto multiply = [&](std::int64_t rows) {  // a size that has no plan yet
    product.m = rows;
    rondo::cuda::gemm(product, work());
    return c.read();
  };
  {
    const Setting refused("RONDO_EMULATION_REFUSED", "1");
    CHECK(multiply(1) == std::vector<float>{3.5F, 4.5F, 0, 0});
  }
  {
    const Setting refused("RONDO_EMULATION_REFUSED", "2");
    CHECK(multiply(2) == std::vector<float>{3.5F, 4.5F, 6.5F, 8.5F});
    CHECK(multiply(2) == std::vector<float>{3.5F, 4.5F, 6.5F, 8.5F});
  }
  const Setting refused("RONDO_EMULATION_REFUSED", "3");
  CHECK_THROWS_WITH(multiply(1),
                    ContainsSubstring("CUBLAS_STATUS_NOT_SUPPORTED from cublasLtMatmul"));
}

}  // namespace
}  // namespace cuda_emulation
