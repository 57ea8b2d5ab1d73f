// SPDX-License-Identifier: BSD-3-Clause
#include "cli/key_value.hpp"

#include <charconv>

namespace flowfs::cli {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

// Takes the part of `text` before the first of `separators` off it, with the separator.
std::string_view take_until(std::string_view& text, std::string_view separators) {
  const std::size_t end = text.find_first_of(separators);
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return part;
}

}  // namespace

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || stop != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

KeyValues KeyValues::parse_lines(std::string_view text) {
  std::vector<Entry> entries;
  while (!text.empty()) {
    std::string_view line = trim(take_until(text, "\n"));
    if (line.empty()) {
      continue;
    }
    const std::string_view key = take_until(line, " \t");
    entries.emplace_back(key, trim(line));
  }
  return KeyValues(std::move(entries));
}

KeyValues KeyValues::parse_words(std::string_view text) {
  std::vector<Entry> entries;
  while (!text.empty()) {
    std::string_view word = take_until(text, kBlank);
    if (word.empty()) {
      continue;
    }
    const std::string_view key = take_until(word, "=");
    entries.emplace_back(key, word);
  }
  return KeyValues(std::move(entries));
}

std::optional<std::string_view> KeyValues::find(std::string_view key) const {
  for (const Entry& entry : entries_) {
    if (entry.first == key) {
      return entry.second;
    }
  }
  return std::nullopt;
}

std::optional<std::uint64_t> KeyValues::number(std::string_view key) const {
  const std::optional<std::string_view> value = find(key);
  return value ? parse_number(*value) : std::nullopt;
}

}  // namespace flowfs::cli
