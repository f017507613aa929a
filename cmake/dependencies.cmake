# Every library Rondo builds on. Names and versions as Debian 12 and Ubuntu 24.04 have them.
#
# A project that adds Rondo as a folder links with these too, from outside of that folder.
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CURL REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
# Debian's CMake package for libzip wants its command-line tools too; its pkg-config file does not.
find_package(PkgConfig REQUIRED)
pkg_check_modules(libzip REQUIRED IMPORTED_TARGET GLOBAL libzip)

# Not every release of these two brings a CMake package.
find_package(hwy QUIET)
if(NOT TARGET hwy::hwy)
  pkg_check_modules(hwy REQUIRED IMPORTED_TARGET GLOBAL libhwy)
  add_library(hwy::hwy ALIAS PkgConfig::hwy)
endif()
find_package(CLI11 QUIET)
if(NOT TARGET CLI11::CLI11)
  find_path(CLI11_INCLUDE_DIR CLI/CLI.hpp REQUIRED)
  add_library(CLI11::CLI11 INTERFACE IMPORTED)
  target_include_directories(CLI11::CLI11 SYSTEM INTERFACE ${CLI11_INCLUDE_DIR})
endif()

if(RONDO_WITH_ONEDNN)
  find_package(dnnl QUIET)
  if(TARGET DNNL::dnnl)
    message(STATUS "Matrix products: oneDNN ${dnnl_VERSION}")
  else()
    message(STATUS "Matrix products: Eigen (install libdnnl-dev for oneDNN, which is faster)")
  endif()
endif()
