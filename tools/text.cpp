#include "tools/text.h"

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace rondo {

std::string known_prompt(const Vocabulary& vocabulary, std::string prompt) {
  if (prompt != "\n") {
    return prompt;
  }
  for (const char* const start : {"\n", " "}) {
    try {
      if (!vocabulary.encode(start).empty()) {
        return start;
      }
    } catch (const Error&) {
      continue;
    }
  }
  return vocabulary.text_after(std::nullopt, 0);
}

void print_generated(const LanguageModel& model, const Vocabulary& vocabulary,
                     std::string_view prompt, const GenerationOptions& options) {
  const std::vector<std::int32_t> ids = vocabulary.encode(prompt);
  std::fwrite(prompt.data(), 1, prompt.size(), stdout);
  std::optional<std::int32_t> previous;
  if (!ids.empty()) {
    previous = ids.back();
  }
  generate(model, ids, options, [&](std::int32_t id) {
    const std::string text = vocabulary.text_after(previous, id);
    previous = id;
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
    return std::ferror(stdout) == 0;  // a reader that has gone away ends it
  });
  std::fputc('\n', stdout);
}

void print_samples(const LanguageModel& model, const Vocabulary& vocabulary,
                   std::string_view prompt, std::int64_t samples,
                   const GenerationOptions& options) {
  const std::vector<std::int32_t> ids = vocabulary.encode(prompt);
  std::vector<std::string> texts(static_cast<std::size_t>(samples), std::string(prompt));
  std::vector<std::int32_t> previous(texts.size(), ids.empty() ? 0 : ids.back());
  generate_samples(model, ids, samples, options, [&](std::span<const std::int32_t> next) {
    for (std::size_t i = 0; i < next.size(); ++i) {
      texts[i] += vocabulary.text_after(previous[i], next[i]);
      previous[i] = next[i];
    }
    return true;
  });
  for (std::size_t i = 0; i < texts.size(); ++i) {
    fmt::print("--- sample {} of {} ---\n", i + 1, samples);
    std::fwrite(texts[i].data(), 1, texts[i].size(), stdout);
    std::fputc('\n', stdout);
  }
}

}  // namespace rondo
