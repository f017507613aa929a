#include "tools/text.h"

#include <cstdio>

namespace rondo {

void print_generated(const LanguageModel& model, const ByteVocabulary& vocabulary,
                     std::string_view prompt, const GenerationOptions& options) {
  const std::vector<std::int32_t> ids = vocabulary.encode(prompt);
  std::fwrite(prompt.data(), 1, prompt.size(), stdout);
  generate(model, ids, options, [&](std::int32_t id) {
    std::fputc(vocabulary.byte(id), stdout);
    std::fflush(stdout);
    return std::ferror(stdout) == 0;  // a reader that has gone away ends it
  });
  std::fputc('\n', stdout);
}

}  // namespace rondo
