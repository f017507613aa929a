// Numbers and text as people read them in a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rondo {

// "950", "12.3k", "42.1M", "1.2B": three digits or so. "?" when not finite.
std::string format_count(double count);

// "3.2s", "45s", "1m 20s", "2h 05m", "3d 4h". "?" when negative or not finite.
std::string format_duration(double seconds);

// The columns that UTF-8 text takes, one a code point.
std::size_t columns(std::string_view text);

// As much of UTF-8 text as fits into `width` columns, never part of a letter.
std::string_view truncate_columns(std::string_view text, std::size_t width);

// `text` as one word of a POSIX shell, in quotes where it needs them.
std::string shell_quoted(std::string_view text);

}  // namespace rondo
