// SPDX-License-Identifier: BSD-3-Clause
// Tables of text for a terminal.
//
// Units: widths in characters (code points; nothing of the tree is wider than one cell).
// A table that is too wide has its `elastic` columns cut, the widest first, each cell that lost
// something ending in `~`; one that cannot be cut enough is as wide as it must be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace flowfs::cli {

enum class Align : std::uint8_t { left, right };

struct Column {
  std::string title;
  Align align = Align::left;
  bool elastic = false;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // A row has as many cells as there are columns.
  void add(std::vector<std::string> row);
  [[nodiscard]] bool empty() const { return rows_.empty(); }

  // Titles and rows, each line with its newline. `width` 0: as wide as it comes.
  [[nodiscard]] std::string render(std::size_t width) const;

 private:
  [[nodiscard]] std::vector<std::size_t> fit(std::size_t width) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Code points in UTF-8 text.
std::size_t text_width(std::string_view text);

// At most `width` code points; where something is cut off, the last of them is `~`.
std::string cut(std::string_view text, std::size_t width);

// 17, 9999, 12.3k, 4.5M: at most five characters up to 999T. Factor 1000.
std::string short_number(std::uint64_t value);

// The columns of the terminal on descriptor `fd`: $COLUMNS where set, else what the terminal says;
// 0 where it is none.
std::size_t terminal_width(int fd);

}  // namespace flowfs::cli
