// SPDX-License-Identifier: BSD-3-Clause
#include "cli/table.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <numeric>

#include "base/result.hpp"
#include "cli/key_value.hpp"

namespace flowfs::cli {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kNarrowest = 6;  // an elastic column is not cut below this

bool begins_code_point(char byte) { return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80U; }

std::string pad(std::string_view text, std::size_t width, Align align) {
  const std::size_t have = text_width(text);
  const std::string blanks(width > have ? width - have : 0, ' ');
  return align == Align::left ? std::string(text) + blanks : blanks + std::string(text);
}

}  // namespace

std::size_t text_width(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, begins_code_point));
}

std::string cut(std::string_view text, std::size_t width) {
  if (text_width(text) <= width) {
    return std::string(text);
  }
  if (width == 0) {
    return {};
  }
  std::size_t bytes = 0;
  for (std::size_t points = 0; bytes < text.size(); ++bytes) {
    if (begins_code_point(text[bytes]) && ++points == width) {
      break;
    }
  }
  return std::string(text.substr(0, bytes)) + "~";
}

std::string short_number(std::uint64_t value) {
  constexpr std::array<char, 6> kSuffix{'k', 'M', 'G', 'T', 'P', 'E'};
  if (value < 10'000) {
    return fmt::format("{}", value);
  }
  double scaled = static_cast<double>(value);
  std::size_t step = 0;
  // 999.95 would print as 1000.0
  for (scaled /= 1000; scaled >= 999.95 && step + 1 < kSuffix.size(); ++step) {
    scaled /= 1000;
  }
  return fmt::format("{:.{}f}{}", scaled, scaled < 99.95 ? 1 : 0, kSuffix[step]);
}

std::size_t terminal_width(int fd) {
  // A single thread runs flowctl, and nothing in it calls setenv.
  if (const char* columns = std::getenv("COLUMNS")) {
    if (const auto number = parse_number(columns); number && *number > 0) {
      return static_cast<std::size_t>(*number);
    }
  }
  winsize size{};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void Table::add(std::vector<std::string> row) {
  FLOWFS_CHECK(row.size() == columns_.size());
  rows_.push_back(std::move(row));
}

std::vector<std::size_t> Table::fit(std::size_t width) const {
  std::vector<std::size_t> widths;
  for (std::size_t column = 0; column < columns_.size(); ++column) {
    std::size_t widest = text_width(columns_[column].title);
    for (const auto& row : rows_) {
      widest = std::max(widest, text_width(row[column]));
    }
    widths.push_back(widest);
  }
  std::size_t total = std::accumulate(widths.begin(), widths.end(),
                                      kGap * (std::max<std::size_t>(widths.size(), 1) - 1));
  while (width != 0 && total > width) {
    std::size_t* widest = nullptr;
    for (std::size_t column = 0; column < columns_.size(); ++column) {
      if (columns_[column].elastic && widths[column] > kNarrowest &&
          (widest == nullptr || widths[column] > *widest)) {
        widest = &widths[column];
      }
    }
    if (widest == nullptr) {
      break;
    }
    --*widest;
    --total;
  }
  return widths;
}

std::string Table::render(std::size_t width) const {
  const std::vector<std::size_t> widths = fit(width);
  std::string text;
  const auto line = [&](auto&& cell) {
    std::string row;
    for (std::size_t column = 0; column < columns_.size(); ++column) {
      row.append(column == 0 ? 0 : kGap, ' ');
      row += pad(cut(cell(column), widths[column]), widths[column], columns_[column].align);
    }
    row.erase(row.find_last_not_of(' ') + 1);
    text += row + "\n";
  };
  line([&](std::size_t column) -> const std::string& { return columns_[column].title; });
  for (const auto& row : rows_) {
    line([&](std::size_t column) -> const std::string& { return row[column]; });
  }
  return text;
}

}  // namespace flowfs::cli
