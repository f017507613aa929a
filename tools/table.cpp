#include "tools/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "tools/format.h"
#include "tools/progress.h"

namespace rondo {
namespace {

constexpr std::string_view kGap = "  ";
constexpr std::size_t kShortestName = 12;

bool is_empty(const TableColumn& column) {
  return std::all_of(column.cells.begin(), column.cells.end(),
                     [](const std::string& cell) { return cell.empty(); });
}

std::size_t width_of(const TableColumn& column) {
  std::size_t widest = columns(column.heading);
  for (const std::string& cell : column.cells) {
    widest = std::max(widest, columns(cell));
  }
  return widest;
}

std::size_t width_of(const std::vector<TableColumn>& table) {
  std::size_t width = 0;
  for (const TableColumn& column : table) {
    width += width_of(column) + kGap.size();
  }
  return width - std::min(width, kGap.size());
}

std::string padded(const std::string& text, std::size_t width, bool left) {
  const std::string space(width - std::min(width, columns(text)), ' ');
  return left ? text + space : space + text;
}

// The end of a long name tells runs apart.
void shorten(TableColumn& column, std::size_t width) {
  for (std::string& cell : column.cells) {
    const std::size_t have = columns(cell);
    if (have > width) {
      const std::string_view head = truncate_columns(cell, have - width + 2);
      cell = ".." + cell.substr(head.size());
    }
  }
}

}  // namespace

std::size_t table_width() {
  Terminal terminal = detect_terminal(1);
  terminal.fixed_width = 120;
  return static_cast<std::size_t>(terminal.width());
}

std::string terminal_table(std::vector<TableColumn> table, std::size_t width) {
  std::erase_if(table, is_empty);
  while (width_of(table) > width) {
    auto first = table.end();
    for (auto column = table.begin(); column != table.end(); ++column) {
      if (column->goes > 0 && (first == table.end() || column->goes < first->goes)) {
        first = column;
      }
    }
    if (first == table.end()) {
      break;
    }
    table.erase(first);
  }
  if (const std::size_t excess = width_of(table) - std::min(width_of(table), width); excess > 0) {
    const std::size_t now = width_of(table.front());
    shorten(table.front(), std::max(now - std::min(now, excess), kShortestName));
  }

  std::string text;
  const auto line = [&](auto&& cell_of) {
    std::string row;
    for (const TableColumn& column : table) {
      row += (row.empty() ? "" : kGap);
      row += padded(cell_of(column), width_of(column), column.left);
    }
    row.erase(row.find_last_not_of(' ') + 1);
    text += row + '\n';
  };
  line([](const TableColumn& column) { return column.heading; });
  for (std::size_t i = 0; !table.empty() && i < table.front().cells.size(); ++i) {
    line([i](const TableColumn& column) { return column.cells[i]; });
  }
  return text;
}

std::string markdown_table(const std::vector<TableColumn>& table) {
  std::vector<TableColumn> shown = table;
  std::erase_if(shown, is_empty);
  std::string headings = "|";
  std::string rule = "|";
  for (const TableColumn& column : shown) {
    headings += fmt::format(" {} |", column.heading);
    rule += column.left ? "---|" : "---:|";
  }
  std::string text = headings + '\n' + rule + '\n';
  for (std::size_t i = 0; !shown.empty() && i < shown.front().cells.size(); ++i) {
    text += '|';
    for (const TableColumn& column : shown) {
      std::string cell;
      for (const char c : column.cells[i]) {
        cell += c == '|' ? "\\|" : std::string(1, c);
      }
      text += fmt::format(" {} |", cell);
    }
    text += '\n';
  }
  return text;
}

std::string csv_line(const std::vector<std::string>& cells) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    line += i == 0 ? "" : ",";
    if (cells[i].find_first_of(",\"\r\n") == std::string::npos) {
      line += cells[i];
      continue;
    }
    line += '"';
    for (const char c : cells[i]) {
      line += c == '"' ? "\"\"" : std::string(1, c);
    }
    line += '"';
  }
  return line + '\n';
}

}  // namespace rondo
