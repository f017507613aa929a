# How our own code is compiled; never passed on to users of the library.
add_library(rondo_options INTERFACE)
target_compile_features(rondo_options INTERFACE cxx_std_20)
set(rondo_warnings -Wall -Wextra -Wshadow -Wno-unknown-pragmas)
if(RONDO_WERROR)
  list(APPEND rondo_warnings -Werror)
endif()
# -ffp-contract=off: the same arithmetic where the compiler could fuse and where it could not.
target_compile_options(rondo_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:${rondo_warnings} -ffp-contract=off>
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=$<JOIN:${rondo_warnings},$<COMMA>>>)
if(RONDO_SANITIZE)
  target_compile_options(rondo_options INTERFACE -fsanitize=${RONDO_SANITIZE}
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(rondo_options INTERFACE -fsanitize=${RONDO_SANITIZE})
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
