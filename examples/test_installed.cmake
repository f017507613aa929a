# Installs Rondo into a temporary folder, builds the embedding example against it, and runs it.
#   cmake -DBUILD=... -DSOURCE=... -DGENERATOR=... -DCOMPILER=... -DSANITIZE=... -P <this file>
set(folder ${BUILD}/examples/installed)
file(REMOVE_RECURSE ${folder})
# The project has headers of its own that are named as some of Rondo's.
foreach(header core/error.h models/config.h)
  file(WRITE ${folder}/own/${header} "#error this is another project's\n")
endforeach()
set(flags -I${folder}/own)
if(SANITIZE)
  string(APPEND flags " -fsanitize=${SANITIZE}")
endif()
function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${folder}/prefix)
run(${CMAKE_COMMAND} -S ${SOURCE} -B ${folder}/build -G ${GENERATOR}
  -DCMAKE_CXX_COMPILER=${COMPILER} "-DCMAKE_CXX_FLAGS=${flags}"
  -DCMAKE_PREFIX_PATH=${folder}/prefix)
run(${CMAKE_COMMAND} --build ${folder}/build)
run(${folder}/build/example_embed)
run(${folder}/prefix/bin/rondo --version)
file(REMOVE_RECURSE ${folder})
