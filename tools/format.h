// Numbers and text as people read them in a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "models/config.h"

namespace rondo {

// "950", "12.3k", "42.1M", "1.2B": three digits or so. "?" when not finite.
std::string format_count(double count);

// "950 B", "12.3 kB", "42.1 MB", "1.2 GB": units of a thousand. "?" when not finite.
std::string format_bytes(double bytes);

// "3.2s", "45s", "1m 20s", "2h 05m", "3d 4h". "?" when negative or not finite.
std::string format_duration(double seconds);

// "1 thread", "2 threads": those that work on the CPU is done with (core/parallel.h).
std::string threads_text();

// "SRU++, 4 layers of 320, projection 80, attention in 3, 4": a model in one line.
std::string format_model(const ModelConfig& model);

// The columns that UTF-8 text takes, one a code point.
std::size_t columns(std::string_view text);

// As much of UTF-8 text as fits into `width` columns, never part of a letter.
std::string_view truncate_columns(std::string_view text, std::size_t width);

// `text` as one word of a POSIX shell, in quotes where it needs them.
std::string shell_quoted(std::string_view text);

}  // namespace rondo
