# At installation: the includes of the headers below the folder `headers`, named from where "rondo/"
# stands.
file(GLOB_RECURSE files "${headers}/*.h" "${headers}/*.inc")
foreach(file IN LISTS files)
  file(READ "${file}" text)
  string(REGEX REPLACE "#include \"(core|autograd|ops|models|data|trainers)/"
    "#include \"rondo/\\1/" named "${text}")
  if(NOT named STREQUAL text)
    file(WRITE "${file}" "${named}")
  endif()
endforeach()
