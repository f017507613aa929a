// Generated text, printed.
#pragma once

#include <string>
#include <string_view>

#include "data/vocabulary.h"
#include "models/generation.h"

namespace rondo {

// The prompt, but for a line break that the vocabulary does not have: nobody asked for that one, it
// is the default. Then a blank, or whatever it has.
std::string known_prompt(const Vocabulary& vocabulary, std::string prompt);

// Prints `prompt` and what the model writes after it to standard output, byte by byte. Throws Error
// for a prompt with bytes that the model does not know.
void print_generated(const LanguageModel& model, const Vocabulary& vocabulary,
                     std::string_view prompt, const GenerationOptions& options);

// Writes `samples` texts together and prints them when all are done, each with its prompt, after a
// line "--- sample 1 of 3 ---".
void print_samples(const LanguageModel& model, const Vocabulary& vocabulary,
                   std::string_view prompt, std::int64_t samples, const GenerationOptions& options);

}  // namespace rondo
