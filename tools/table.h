// Tables of text, for a terminal, for Markdown and as CSV.
#pragma once

#include <string>
#include <vector>

namespace rondo {

struct TableColumn {
  std::string heading;
  bool left = false;  // words; numbers stand to the right
  // Which columns go first where there is no room for all: those of the lowest number. 0: never.
  int goes = 0;
  std::vector<std::string> cells;
};

// The columns that a table on standard output may take: those of the terminal, 120 elsewhere.
std::size_t table_width();

// Lines of at most `width` columns, as far as dropping and then shortening the first column can
// make them. A column without any text is left out.
std::string terminal_table(std::vector<TableColumn> columns, std::size_t width);

// Every column that has any text, as a table of Markdown.
std::string markdown_table(const std::vector<TableColumn>& columns);

// A line of CSV (RFC 4180, but for its end, which is a plain line feed).
std::string csv_line(const std::vector<std::string>& cells);

}  // namespace rondo
