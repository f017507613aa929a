# How the GPU kernels are built: by nvcc where it is found; with RONDO_CUDA_EMULATION by the host
# compiler against tests/cuda_emulation; or not at all. Sets rondo_cuda to nvcc, emulation or none.
set(rondo_cuda none)
if(RONDO_CUDA_EMULATION)
  set(rondo_cuda emulation)
elseif(RONDO_WITH_CUDA)
  include(CheckLanguage)
  if(NOT CMAKE_CUDA_COMPILER)
    # Not every installation puts its compiler on the PATH.
    find_program(CMAKE_CUDA_COMPILER nvcc HINTS /usr/local/cuda/bin $ENV{CUDA_HOME}/bin)
  endif()
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    # Machine code for A100 and H100/H200, and portable code for what comes later.
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90 CACHE STRING "GPU architectures to compile for")
  endif()
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)  # CMake 3.25 does not know of it
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
    find_package(CUDAToolkit QUIET)
    if(CUDAToolkit_FOUND AND TARGET CUDA::cublasLt)
      set(rondo_cuda nvcc)
    endif()
  endif()
endif()
if(rondo_cuda STREQUAL nvcc)
  message(STATUS "GPU: CUDA ${CMAKE_CUDA_COMPILER_VERSION}, for ${CMAKE_CUDA_ARCHITECTURES}")
elseif(rondo_cuda STREQUAL emulation)
  message(STATUS "GPU: kernels run in the emulation of tests/cuda_emulation, slowly")
else()
  message(STATUS "GPU: none (nvcc or cuBLASLt was not found, or RONDO_WITH_CUDA is OFF)")
endif()

# Lets `target` load cuDNN, which LSTM layers alone use: its header is all that the build needs.
function(rondo_add_cudnn target)
  find_path(RONDO_CUDNN_INCLUDE cudnn_version.h HINTS ${CUDAToolkit_INCLUDE_DIRS}
    DOC "Folder of cuDNN's headers")
  find_library(RONDO_CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 HINTS ${CUDAToolkit_LIBRARY_DIR}
    DOC "cuDNN, to be loaded from there if the system's loader finds none")
  if(NOT RONDO_CUDNN_INCLUDE OR NOT RONDO_CUDNN_LIBRARY)
    message(STATUS "cuDNN: not found; LSTM layers take Rondo's own kernels")
    return()
  endif()
  file(STRINGS ${RONDO_CUDNN_INCLUDE}/cudnn_version.h version REGEX "define CUDNN_MAJOR")
  if(NOT version MATCHES "CUDNN_MAJOR +9")
    message(STATUS "cuDNN: found, but not version 9; LSTM layers take Rondo's own kernels")
    return()
  endif()
  message(STATUS "cuDNN: 9, for LSTM layers")
  get_filename_component(folder ${RONDO_CUDNN_LIBRARY} DIRECTORY)
  set_source_files_properties(cuda_kernels/cudnn_lstm.cpp PROPERTIES
    INCLUDE_DIRECTORIES ${RONDO_CUDNN_INCLUDE}
    COMPILE_DEFINITIONS "RONDO_WITH_CUDNN;RONDO_CUDNN_LIBRARIES=\"${folder}\"")
  set_source_files_properties(ops/lstm_cudnn.cpp PROPERTIES COMPILE_DEFINITIONS RONDO_WITH_CUDNN)
endfunction()

# Adds the GPU's sources to `target`.
function(rondo_add_cuda target)
  file(GLOB_RECURSE kernels CONFIGURE_DEPENDS core/*.cu cuda_kernels/*.cu)
  file(GLOB_RECURSE runtime CONFIGURE_DEPENDS core/cuda.cpp cuda_kernels/*.cpp)
  target_sources(${target} PRIVATE ${kernels} ${runtime})
  target_compile_definitions(${target} PUBLIC RONDO_WITH_CUDA)
  if(rondo_cuda STREQUAL nvcc)
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr --expt-extended-lambda -lineinfo>)
    # cuBLASLt is not linked in but loaded when it is needed (cuda_kernels/cublaslt.h).
    target_link_libraries(${target} PRIVATE CUDA::cudart_static ${CMAKE_DL_LIBS})
    set_source_files_properties(cuda_kernels/cublaslt.cpp PROPERTIES COMPILE_DEFINITIONS
      RONDO_CUDA_LIBRARIES="${CUDAToolkit_LIBRARY_DIR}")
    if(RONDO_WITH_CUDNN)
      rondo_add_cudnn(${target})
    endif()
  else()
    file(GLOB emulation CONFIGURE_DEPENDS tests/cuda_emulation/*.cpp)
    list(FILTER emulation EXCLUDE REGEX "_test\\.cpp$")
    set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX
      COMPILE_OPTIONS "-xc++;-fno-strict-aliasing")  # vectors of elements are loaded through casts
    target_sources(${target} PRIVATE ${emulation})
    target_compile_definitions(${target} PRIVATE RONDO_CUDA_EMULATION)
    target_include_directories(${target} BEFORE PRIVATE
      ${PROJECT_SOURCE_DIR}/tests/cuda_emulation/include)
    find_package(Boost 1.74 REQUIRED COMPONENTS context)  # the fibers that threads run on
    target_link_libraries(${target} PRIVATE Boost::context)
  endif()
endfunction()
