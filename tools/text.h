// Generated text, printed as it comes.
#pragma once

#include <string_view>

#include "data/byte_vocabulary.h"
#include "models/generation.h"

namespace rondo {

// Prints `prompt` and what the model writes after it to standard output, byte by byte. Throws Error
// for a prompt with bytes that the model does not know.
void print_generated(const LanguageModel& model, const ByteVocabulary& vocabulary,
                     std::string_view prompt, const GenerationOptions& options);

}  // namespace rondo
