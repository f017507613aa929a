# `cmake --install build`: the program, the library with its headers, and a package that other
# projects find with find_package(rondo). A project that adds this one as a folder installs itself.
if(NOT PROJECT_IS_TOP_LEVEL)
  return()
endif()
include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/rondo)

install(TARGETS rondo EXPORT rondoTargets)
install(TARGETS rondo_cli RUNTIME)
# No public header includes what is in ops/cpu; nor attention_rows.h and attention_gpu_blocks.h, which
# include that and kernels; nor yaml_document.h, which wants yaml-cpp's headers.
install(DIRECTORY core autograd ops models data trainers
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rondo
  FILES_MATCHING PATTERN "*.h" PATTERN "*.inc" PATTERN cpu EXCLUDE
  PATTERN attention_rows.h EXCLUDE PATTERN attention_gpu_blocks.h EXCLUDE
  PATTERN yaml_document.h EXCLUDE)
install(FILES rondo.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rondo)
# A project may have a core/error.h or models/config.h of its own: installed headers include each
# other as "rondo/core/error.h".
install(CODE "set(headers \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_INCLUDEDIR}/rondo\")")
install(SCRIPT cmake/name_headers.cmake)
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/rondo)

if(RONDO_WITH_ONEDNN AND TARGET DNNL::dnnl)
  set(rondo_uses_onednn ON)
else()
  set(rondo_uses_onednn OFF)
endif()
if(RONDO_WITH_SENTENCEPIECE AND TARGET SentencePiece::sentencepiece)
  set(rondo_uses_sentencepiece ON)
else()
  set(rondo_uses_sentencepiece OFF)
endif()
install(EXPORT rondoTargets NAMESPACE rondo:: DESTINATION ${package_folder})
configure_package_config_file(cmake/rondoConfig.cmake.in ${PROJECT_BINARY_DIR}/rondoConfig.cmake
  INSTALL_DESTINATION ${package_folder} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/rondoConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/rondoConfig.cmake ${PROJECT_BINARY_DIR}/rondoConfigVersion.cmake
  cmake/find_onednn.cmake cmake/find_sentencepiece.cmake
  DESTINATION ${package_folder})
