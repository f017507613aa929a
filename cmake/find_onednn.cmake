# Finds oneDNN: DNNL::dnnl and dnnl_VERSION, or neither. By its files, not by its CMake package, for
# Debian's fails where OpenCL's headers are missing, which Rondo does not need.
if(NOT TARGET DNNL::dnnl)
  find_path(DNNL_INCLUDE_DIR dnnl.hpp DOC "Folder of oneDNN's headers")
  find_library(DNNL_LIBRARY dnnl DOC "oneDNN")
  find_file(DNNL_VERSION_HEADER NAMES oneapi/dnnl/dnnl_version.h dnnl_version.h
    HINTS ${DNNL_INCLUDE_DIR} DOC "oneDNN's header with its version")
  mark_as_advanced(DNNL_INCLUDE_DIR DNNL_LIBRARY DNNL_VERSION_HEADER)
  if(DNNL_INCLUDE_DIR AND DNNL_LIBRARY AND DNNL_VERSION_HEADER)
    set(parts)
    foreach(part MAJOR MINOR PATCH)
      file(STRINGS ${DNNL_VERSION_HEADER} line REGEX "define DNNL_VERSION_${part} ")
      string(REGEX REPLACE ".* ([0-9]+).*" "\\1" line "${line}")
      list(APPEND parts ${line})
    endforeach()
    list(JOIN parts . dnnl_VERSION)
    add_library(DNNL::dnnl UNKNOWN IMPORTED)
    set_target_properties(DNNL::dnnl PROPERTIES IMPORTED_LOCATION ${DNNL_LIBRARY}
      INTERFACE_INCLUDE_DIRECTORIES ${DNNL_INCLUDE_DIR})
  endif()
endif()
