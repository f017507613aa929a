// The GPU's products themselves: what linear and attention build on.
#include "cuda_kernels/gemm.h"

#include <array>
#include <cmath>
#include <limits>

#include "core/allocator.h"
#include "ops/device.h"
#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;
using cuda::Transpose;

namespace {

void run(const cuda::Gemm& product) {
  run_on(
      test_device(), [] { FAIL("a GPU is needed"); },
      [&](auto stream) { cuda::gemm(product, stream); });
}

// What lies around a matrix in memory.
struct Surroundings {
  std::int64_t padding = 0;  // elements between rows, and twice as many between matrices
  bool offset = false;       // the first element is not aligned
};

// The memory of a batch of matrices, filled at random.
struct Matrices {
  std::int64_t ld, stride;
  Tensor memory;

  Matrices(std::int64_t batch, std::int64_t rows, std::int64_t columns, DType dtype,
           const Surroundings& around, Generator& generator)
      : ld(columns + around.padding),
        stride(rows * ld + 2 * around.padding),
        memory(random_tensor({batch * stride}, dtype, generator, -1, 1, around.offset)) {}
};

// Runs `product`, whose sizes, types, transposes and factors are given, on random matrices, and
// compares all of C's memory with a plain product in double.
void check_product(cuda::Gemm product, const Surroundings& around, bool with_bias,
                   Generator& generator) {
  const auto [m, n, k] = std::array{product.m, product.n, product.k};
  const bool a_flipped = product.transpose_a == Transpose::yes;
  const bool b_flipped = product.transpose_b == Transpose::yes;
  Matrices a(product.batch, a_flipped ? k : m, a_flipped ? m : k, product.operands, around,
             generator);
  Matrices b(product.batch, b_flipped ? n : k, b_flipped ? k : n, product.operands, around,
             generator);
  Matrices c(product.batch, m, n, product.result, around, generator);
  Tensor bias = random_tensor({n}, product.result, generator, -1, 1, around.offset);
  const Tensor wide_a = on_cpu(a.memory).to(DType::f64);
  const Tensor wide_b = on_cpu(b.memory).to(DType::f64);
  const Tensor wide_bias = on_cpu(bias).to(DType::f64);
  Tensor expected = on_cpu(c.memory).to(DType::f64).clone();
  if (product.beta == 0.0 && around.padding == 0) {
    c.memory.fill(std::numeric_limits<double>::quiet_NaN());  // must not be read
  }
  for (std::int64_t matrix = 0; matrix < product.batch; ++matrix) {
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        double sum = 0.0;
        for (std::int64_t l = 0; l < k; ++l) {
          sum +=
              wide_a.data<double>()[matrix * a.stride + (a_flipped ? l * a.ld + i : i * a.ld + l)] *
              wide_b.data<double>()[matrix * b.stride + (b_flipped ? j * b.ld + l : l * b.ld + j)];
        }
        double& element = expected.data<double>()[matrix * c.stride + i * c.ld + j];
        element = product.alpha * sum + product.beta * element +
                  (with_bias ? wide_bias.data<double>()[j] : 0.0);
      }
    }
  }
  product.a = a.memory.raw();
  product.lda = a.ld;
  product.stride_a = a.stride;
  product.b = b.memory.raw();
  product.ldb = b.ld;
  product.stride_b = b.stride;
  product.c = c.memory.raw();
  product.ldc = c.ld;
  product.stride_c = c.stride;
  product.bias = with_bias ? bias.raw() : nullptr;
  run(product);
  // TF32 keeps 10 bits of each operand's fraction, a half result its type's; else only the order of
  // some hundred sums differs. A bias may be added after a first rounding, of a sum larger than C.
  const bool half = product.result == DType::bf16 || product.result == DType::f16;
  double tolerance = product.tf32                    ? 1e-2
                     : product.result == DType::bf16 ? 0x1p-8
                     : product.result == DType::f16  ? 0x1p-10
                     : product.result == DType::f64  ? 1e-13
                                                     : 1e-5;
  if (half && with_bias) {
    tolerance *= 4;
  }
  INFO(name(product.operands) << " to " << name(product.result) << ", " << m << " x " << n << " x "
                              << k << ", batch " << product.batch << ", transposed " << a_flipped
                              << b_flipped << ", alpha " << product.alpha << ", beta "
                              << product.beta << ", bias " << with_bias << ", padding "
                              << around.padding << ", offset " << around.offset);
  REQUIRE(max_relative_error(c.memory, expected) < tolerance);
}

constexpr std::array kTypes{std::pair{DType::f32, DType::f32},   std::pair{DType::f64, DType::f64},
                            std::pair{DType::bf16, DType::bf16}, std::pair{DType::bf16, DType::f32},
                            std::pair{DType::f16, DType::f16},   std::pair{DType::f16, DType::f32}};

}  // namespace

TEST_CASE("gemm multiplies matrices of every type, transposed or not", "[ops][gemm][gpu]") {
  Generator generator(1);
  for (const auto& [operands, result] : kTypes) {
    for (const auto [m, n, k] :
         {std::array{1, 1, 1}, std::array{5, 7, 3}, std::array{64, 48, 32}, std::array{33, 1, 130},
          std::array{1, 65, 17}, std::array{16, 128, 8}}) {
      for (const Transpose transpose_a : {Transpose::no, Transpose::yes}) {
        for (const Transpose transpose_b : {Transpose::no, Transpose::yes}) {
          for (const Surroundings& around :
               {Surroundings{}, Surroundings{8, false}, Surroundings{3, true}}) {
            cuda::Gemm product;
            product.operands = operands;
            product.result = result;
            product.tf32 = around.padding == 8 && operands == DType::f32;
            product.m = m;
            product.n = n;
            product.k = k;
            product.transpose_a = transpose_a;
            product.transpose_b = transpose_b;
            check_product(product, around, false, generator);
          }
        }
      }
    }
  }
}

TEST_CASE("gemm scales, adds up and adds a bias, in batches too", "[ops][gemm][gpu]") {
  Generator generator(2);
  for (const auto& [operands, result] : kTypes) {
    for (const std::int64_t batch : {1, 5}) {
      for (const double alpha : {1.0, 0.25}) {
        for (const double beta : {0.0, 1.0, -0.5}) {
          for (const bool with_bias : {false, true}) {
            for (const Surroundings& around :
                 {Surroundings{}, Surroundings{8, false}, Surroundings{1, true}}) {
              cuda::Gemm product;
              product.operands = operands;
              product.result = result;
              product.m = 9;
              product.n = 24;
              product.k = 16;
              product.batch = batch;
              product.alpha = alpha;
              product.beta = beta;
              product.transpose_b = Transpose::yes;
              check_product(product, around, with_bias, generator);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("gemm of nothing scales C, or leaves it", "[ops][gemm][gpu]") {
  Generator generator(3);
  for (const auto& [operands, result] : kTypes) {
    for (const auto [m, n, k] : {std::array{10, 33, 0}, std::array{0, 3, 2}, std::array{3, 0, 2}}) {
      for (const double beta : {0.0, 1.0, -0.5}) {
        for (const std::int64_t batch : {0, 1, 3}) {
          for (const bool with_bias : {false, true}) {
            cuda::Gemm product;
            product.operands = operands;
            product.result = result;
            product.m = m;
            product.n = n;
            product.k = k;
            product.beta = beta;
            product.batch = batch;
            check_product(product, Surroundings{batch == 3 ? 2 : 0, true}, with_bias, generator);
          }
        }
      }
    }
  }
}

TEST_CASE("gemm gives the same bits again, and then allocates nothing", "[ops][gemm][gpu]") {
  Generator generator(4);
  const Tensor a = random_tensor({40, 64}, DType::bf16, generator);
  const Tensor b = random_tensor({64, 24}, DType::bf16, generator);
  Tensor c = Tensor::empty({40, 24}, DType::f32, test_device());
  cuda::Gemm product;
  product.operands = DType::bf16;
  product.m = 40;
  product.n = 24;
  product.k = 64;
  product.a = a.raw();
  product.lda = 64;
  product.b = b.raw();
  product.ldb = 24;
  product.c = c.raw();
  product.ldc = 24;
  run(product);
  const Tensor first = on_cpu(c);
  const MemoryStats before = allocator(test_device()).stats();
  run(product);
  const MemoryStats after = allocator(test_device()).stats();
  REQUIRE(same_bits(first, c));
  REQUIRE(after.in_use_bytes == before.in_use_bytes);
  REQUIRE(after.system_allocations == before.system_allocations);
}

TEST_CASE("gemm says what it cannot multiply", "[ops][gemm][gpu]") {
  Tensor memory = Tensor::zeros({64}, DType::f32, test_device());
  cuda::Gemm product;
  product.m = product.n = product.k = 4;
  product.a = product.b = memory.raw();
  product.c = static_cast<float*>(memory.raw()) + 32;
  product.lda = product.ldb = 4;
  product.ldc = 3;  // less than a row
  REQUIRE_THAT(error_of([&] { run(product); }),
               ContainsSubstring("[gemm] cuBLASLt") &&
                   ContainsSubstring("C (4, 4) f32 = A (4, 4) B (4, 4) f32") &&
                   ContainsSubstring("leading dimensions A 4, B 4, C 3"));
  product.ldc = 4;
  product.operands = DType::i32;
  REQUIRE(error_of([&] { run(product); }) ==
          "[gemm] matrices of i32 are not multiplied on GPUs; expected f32, f64, bf16 or f16");
}
