#include "data/prepare_words.h"

#include "core/file.h"
#include "data/line_corpus.h"
#include "data/prepared_folder.h"
#include "data/word_corpus.h"

namespace rondo {

PreparedCorpus prepare_words(const TextOptions& options, std::int64_t least_count) {
  const FileLock lock = lock_output(options.output);
  const LineText text = read_lines(options);
  const WordCorpus words(text.corpus, LineRule(), options.progress);
  PreparedCorpus prepared = words.write(options.output, words.train_vocabulary(least_count));
  prepared.files = text.files;
  return prepared;
}

}  // namespace rondo
