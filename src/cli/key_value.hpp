// SPDX-License-Identifier: BSD-3-Clause
// Attribute files of `key value` lines, read into something that can be asked.
//
// Input: the text of a file of the tree. The daemon of another version may have written it, so
// unknown keys are kept, a line without a value has an empty one, and nothing is ever an error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flowfs::cli {

class KeyValues {
 public:
  using Entry = std::pair<std::string, std::string>;

  KeyValues() = default;
  explicit KeyValues(std::vector<Entry> entries) : entries_(std::move(entries)) {}

  // One pair a line: the first word is the key, the rest without surrounding blanks the value.
  static KeyValues parse_lines(std::string_view text);
  // `key=value` words separated by blanks, as at the end of an event line.
  static KeyValues parse_words(std::string_view text);

  [[nodiscard]] std::optional<std::string_view> find(std::string_view key) const;
  // The value where it is there and a whole decimal number.
  [[nodiscard]] std::optional<std::uint64_t> number(std::string_view key) const;
  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }
  [[nodiscard]] bool empty() const { return entries_.empty(); }

 private:
  std::vector<Entry> entries_;  // in the order of the file
};

std::string_view trim(std::string_view text);

// A whole decimal number and nothing else; nullopt when it does not fit.
std::optional<std::uint64_t> parse_number(std::string_view text);

}  // namespace flowfs::cli
