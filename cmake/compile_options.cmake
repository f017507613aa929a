# How our own code is compiled; never passed on to users of the library.
add_library(rondo_options INTERFACE)
target_compile_features(rondo_options INTERFACE cxx_std_20)
target_compile_options(rondo_options INTERFACE -Wall -Wextra -Wshadow -Wno-unknown-pragmas
  -ffp-contract=off)  # the same arithmetic wherever the compiler could fuse and where it could not
if(RONDO_WERROR)
  target_compile_options(rondo_options INTERFACE -Werror)
endif()
if(RONDO_SANITIZE)
  target_compile_options(rondo_options INTERFACE -fsanitize=${RONDO_SANITIZE}
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(rondo_options INTERFACE -fsanitize=${RONDO_SANITIZE})
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
