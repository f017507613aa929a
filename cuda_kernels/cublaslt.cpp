#include "cuda_kernels/cublaslt.h"

#ifndef RONDO_CUDA_EMULATION
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#endif

#include <string>
#include <vector>

#include "core/error.h"

namespace rondo::cuda {
namespace {

#ifdef RONDO_CUDA_EMULATION

CublasLt load() {
  return {
      .create = &cublasLtCreate,
      .get_version = &cublasLtGetVersion,
      .get_status_name = &cublasLtGetStatusName,
      .matmul = &cublasLtMatmul,
      .matmul_algo_get_heuristic = &cublasLtMatmulAlgoGetHeuristic,
      .matmul_desc_create = &cublasLtMatmulDescCreate,
      .matmul_desc_destroy = &cublasLtMatmulDescDestroy,
      .matmul_desc_set_attribute = &cublasLtMatmulDescSetAttribute,
      .matrix_layout_create = &cublasLtMatrixLayoutCreate,
      .matrix_layout_destroy = &cublasLtMatrixLayoutDestroy,
      .matrix_layout_set_attribute = &cublasLtMatrixLayoutSetAttribute,
      .matmul_preference_create = &cublasLtMatmulPreferenceCreate,
      .matmul_preference_destroy = &cublasLtMatmulPreferenceDestroy,
      .matmul_preference_set_attribute = &cublasLtMatmulPreferenceSetAttribute,
  };
}

#else

void* open_library() {
  // What the system's loader finds, then the toolkit that Rondo was built with. Only the major
  // version of the header is known to fit it.
  const std::string name = fmt::format("libcublasLt.so.{}", CUBLAS_VER_MAJOR);
  std::string reasons;
  for (const std::string& path : {name, fmt::format("{}/{}", RONDO_CUDA_LIBRARIES, name)}) {
    if (void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
      return library;
    }
    reasons += fmt::format("\n  {}", dlerror());  // begins with the path
  }
  fail(
      "[gemm] cuBLASLt, which multiplies matrices on GPUs, could not be loaded; install it "
      "(NVIDIA's package libcublas-{}-{}), or add the folder that holds it to LD_LIBRARY_PATH, or "
      "use device: cpu. Tried:{}",
      CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10, reasons);
}

template <typename Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  check(function != nullptr, "[gemm] libcublasLt.so.{} has no {}; install its version {}.{}",
        CUBLAS_VER_MAJOR, name, CUBLAS_VER_MAJOR, CUBLAS_VER_MINOR);
}

CublasLt load() {
  void* const library = open_library();  // stays open: plans and graphs refer to it
  CublasLt found{};
  find(library, "cublasLtCreate", found.create);
  find(library, "cublasLtGetVersion", found.get_version);
  find(library, "cublasLtGetStatusName", found.get_status_name);
  find(library, "cublasLtMatmul", found.matmul);
  find(library, "cublasLtMatmulAlgoGetHeuristic", found.matmul_algo_get_heuristic);
  find(library, "cublasLtMatmulDescCreate", found.matmul_desc_create);
  find(library, "cublasLtMatmulDescDestroy", found.matmul_desc_destroy);
  find(library, "cublasLtMatmulDescSetAttribute", found.matmul_desc_set_attribute);
  find(library, "cublasLtMatrixLayoutCreate", found.matrix_layout_create);
  find(library, "cublasLtMatrixLayoutDestroy", found.matrix_layout_destroy);
  find(library, "cublasLtMatrixLayoutSetAttribute", found.matrix_layout_set_attribute);
  find(library, "cublasLtMatmulPreferenceCreate", found.matmul_preference_create);
  find(library, "cublasLtMatmulPreferenceDestroy", found.matmul_preference_destroy);
  find(library, "cublasLtMatmulPreferenceSetAttribute", found.matmul_preference_set_attribute);
  return found;
}

#endif

}  // namespace

const CublasLt& cublaslt() {
  static const CublasLt functions = load();
  return functions;
}

}  // namespace rondo::cuda
