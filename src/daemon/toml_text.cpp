// SPDX-License-Identifier: BSD-3-Clause
#include "daemon/toml_text.hpp"

#include <algorithm>

namespace flowfs::daemon {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// The length of the string that `text` begins with, quotes included.
std::size_t string_length(std::string_view text) {
  const char quote = text.front();
  const bool escapes = quote == '"';
  const auto quotes_at = [&](std::size_t at) {
    return std::min(text.find_first_not_of(quote, at), text.size()) - at;
  };
  const std::size_t opening = quotes_at(0);
  if (opening == 2) {
    return 2;
  }
  const bool many_lines = opening >= 3;
  std::size_t at = many_lines ? 3 : 1;
  while (at < text.size()) {
    const std::size_t quotes = quotes_at(at);
    if (text[at] == '\\' && escapes) {
      at += 2;
    } else if (quotes >= (many_lines ? 3U : 1U)) {
      return at + (many_lines ? std::min<std::size_t>(quotes, 5) : 1);  // """two "quotes"""""
    } else if (text[at] == '\n' && !many_lines) {
      return at;  // the parser complains of it
    } else {
      ++at;
    }
  }
  return text.size();
}

}  // namespace

std::optional<std::size_t> line_of_stray_character(std::string_view text) {
  if (text.starts_with(kByteOrderMark)) {
    text.remove_prefix(kByteOrderMark.size());
  }
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
    } else if (c == '"' || c == '\'') {
      at += string_length(text.substr(at));
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      return 1 + static_cast<std::size_t>(std::ranges::count(text.substr(0, at), '\n'));
    } else {
      ++at;
    }
  }
  return std::nullopt;
}

}  // namespace flowfs::daemon
