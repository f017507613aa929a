# Finds SentencePiece: the target SentencePiece::sentencepiece, or nothing.
if(NOT TARGET SentencePiece::sentencepiece)
  find_path(SENTENCEPIECE_INCLUDE_DIR sentencepiece_processor.h DOC "Folder of SentencePiece's headers")
  find_library(SENTENCEPIECE_LIBRARY sentencepiece DOC "SentencePiece, without its trainer")
  mark_as_advanced(SENTENCEPIECE_INCLUDE_DIR SENTENCEPIECE_LIBRARY)
  if(SENTENCEPIECE_INCLUDE_DIR AND SENTENCEPIECE_LIBRARY)
    add_library(SentencePiece::sentencepiece UNKNOWN IMPORTED)
    set_target_properties(SentencePiece::sentencepiece PROPERTIES
      IMPORTED_LOCATION ${SENTENCEPIECE_LIBRARY}
      INTERFACE_INCLUDE_DIRECTORIES ${SENTENCEPIECE_INCLUDE_DIR})
  endif()
endif()
