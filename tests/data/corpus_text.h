// What the tests of corpora of words and of pieces look into a corpus by.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/corpus.h"

namespace rondo::testing {

using Ids = std::vector<std::int32_t>;

inline Ids ids_of(const Corpus& corpus, Split split) { return corpus.split(split).ids(); }

inline std::string text_of(const Corpus& corpus, Split split) {
  return corpus.vocabulary().decode(ids_of(corpus, split));
}

}  // namespace rondo::testing
