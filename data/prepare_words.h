// Making a corpus of words of any text: train.ids, dev.ids, test.ids, vocabulary.txt and
// corpus.json, which is written last. A folder that already holds this corpus is left as it is; one
// that holds another is an error.
#pragma once

#include <cstdint>

#include "data/prepare.h"

namespace rondo {

// A text of one file is cut into splits as prepare_text does, but at line ends. The words that
// train has less than `least_count` times are <unk>; 1: every word of train is known. Throws Error
// for text that is missing, empty or not UTF-8, and for a word of dev or test that train lacks
// where there is no <unk> to stand for it.
PreparedCorpus prepare_words(const TextOptions& options, std::int64_t least_count = 1);

}  // namespace rondo
