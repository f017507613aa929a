// Making a corpus of the pieces of a SentencePiece model: train.ids, dev.ids, test.ids,
// vocabulary.model and corpus.json, which is written last. A folder that already holds this corpus
// is left as it is; one that holds another is an error.
#pragma once

#include <filesystem>

#include "data/prepare.h"

namespace rondo {

// `model` is a .model file of SentencePiece, whose </s> closes every line. A text of one file is
// cut into splits as prepare_text does, but at line ends. Throws Error for text that is missing,
// empty or not UTF-8, for a file that is not such a model, and without SentencePiece.
PreparedCorpus prepare_pieces(const TextOptions& options, const std::filesystem::path& model);

}  // namespace rondo
