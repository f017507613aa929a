# The built-in corpus: this repository's own source and documentation, compiled into the library, so
# that a first training run needs neither a network nor a file.
#
# The split a file belongs to depends on nothing but its path, so no later commit moves a file from
# one split to another. Within a split, files follow each other in the order of their paths.
enable_language(ASM)

set(corpus_folder ${PROJECT_BINARY_DIR}/builtin_corpus)
set(patterns *.md *.txt *.h)
foreach(folder core autograd ops cuda_kernels models data trainers tools tests benchmarks examples
               docs configs cmake)
  foreach(kind h cpp cu md yaml cmake txt sh)
    list(APPEND recursive_patterns ${folder}/*.${kind})
  endforeach()
endforeach()
list(TRANSFORM patterns PREPEND ${PROJECT_SOURCE_DIR}/)
list(TRANSFORM recursive_patterns PREPEND ${PROJECT_SOURCE_DIR}/)
file(GLOB root_files CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} ${patterns})
file(GLOB_RECURSE layer_files CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}
     ${recursive_patterns})
set(corpus_files ${root_files} ${layer_files})
list(FILTER corpus_files EXCLUDE REGEX "^tests/golden/")
list(SORT corpus_files)

set(train_files)
set(dev_files)
set(test_files)
foreach(file ${corpus_files})
  string(SHA256 hash ${file})
  string(SUBSTRING ${hash} 0 8 hash)
  math(EXPR percent "0x${hash} % 100")
  if(percent LESS 8)
    list(APPEND dev_files ${file})
  elseif(percent LESS 16)
    list(APPEND test_files ${file})
  else()
    list(APPEND train_files ${file})
  endif()
endforeach()

foreach(split train dev test)
  # Read by people, and so that a file that leaves the list makes the split again.
  list(JOIN ${split}_files "\n" listing)
  file(CONFIGURE OUTPUT ${corpus_folder}/${split}.files CONTENT "${listing}\n" @ONLY)
  add_custom_command(OUTPUT ${corpus_folder}/${split}.bytes
    COMMAND ${CMAKE_COMMAND} -E cat ${${split}_files} > ${corpus_folder}/${split}.bytes
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    DEPENDS ${${split}_files} ${corpus_folder}/${split}.files
    COMMENT "Gathering the built-in corpus (${split})"
    VERBATIM)
endforeach()

configure_file(cmake/builtin_corpus.S.in ${corpus_folder}/builtin_corpus.S @ONLY)
set_source_files_properties(${corpus_folder}/builtin_corpus.S PROPERTIES OBJECT_DEPENDS
  "${corpus_folder}/train.bytes;${corpus_folder}/dev.bytes;${corpus_folder}/test.bytes")
target_sources(rondo PRIVATE ${corpus_folder}/builtin_corpus.S)
