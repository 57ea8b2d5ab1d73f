// SPDX-License-Identifier: BSD-3-Clause
#include "cli/event_line.hpp"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <ctime>

namespace flowfs::cli {
namespace {

constexpr std::uint64_t kMicrosPerSecond = 1'000'000;

std::string_view next_word(std::string_view& text) {
  text = trim(text);
  const std::size_t end = text.find(' ');
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(word.size());
  return word;
}

std::optional<std::uint64_t> parse_time(std::string_view word) {
  const std::size_t dot = word.find('.');
  if (dot == std::string_view::npos || word.size() - dot - 1 != 6) {
    return std::nullopt;
  }
  const auto seconds = parse_number(word.substr(0, dot));
  const auto micros = parse_number(word.substr(dot + 1));
  if (!seconds || !micros || *seconds > UINT64_MAX / kMicrosPerSecond - 1) {
    return std::nullopt;
  }
  return *seconds * kMicrosPerSecond + *micros;
}

std::string local_time(std::uint64_t wall_us) {
  const auto seconds = static_cast<std::time_t>(wall_us / kMicrosPerSecond);
  std::tm parts{};
  std::array<char, 64> text{};
  if (localtime_r(&seconds, &parts) == nullptr ||
      std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts) == 0) {
    return fmt::format("{}", seconds);
  }
  return fmt::format("{}.{:06}", text.data(), wall_us % kMicrosPerSecond);
}

}  // namespace

std::vector<std::string> event_kinds() {
  return {"name-created", "name-removed",   "name-renamed", "alias-created",  "alias-removed",
          "flow-waiting", "flow-allocated", "flow-refused", "flow-timed-out", "flow-deallocated",
          "bus-created",  "bus-removed",    "bus-renamed"};
}

std::optional<EventLine> parse_event(std::string_view line) {
  const auto time = parse_time(next_word(line));
  if (!time) {
    return std::nullopt;
  }
  EventLine event;
  event.wall_us = *time;
  event.kind = next_word(line);
  event.object = next_word(line);
  event.words = KeyValues::parse_words(line);
  if (event.kind.empty() || event.object.empty()) {
    return std::nullopt;
  }
  return event;
}

bool matches(const EventFilter& filter, const EventLine& event) {
  if (event.kind == "lost") {
    return true;
  }
  const bool kind = filter.kinds.empty() || std::ranges::count(filter.kinds, event.kind) > 0;
  // Without FNM_PATHNAME: `*log*` may be typed for names/log.
  return kind && (filter.object_glob.empty() ||
                  fnmatch(filter.object_glob.c_str(), event.object.c_str(), 0) == 0);
}

std::string readable(const EventLine& event) {
  if (event.kind == "lost") {
    return fmt::format("{}  -- {} events lost: this reader was too slow --",
                       local_time(event.wall_us), event.words.find("count").value_or("some"));
  }
  std::string kind = event.kind;
  std::ranges::replace(kind, '-', ' ');
  std::string line = fmt::format("{}  {:<16}  {}", local_time(event.wall_us), kind, event.object);
  for (const auto& [key, value] : event.words.entries()) {
    line += fmt::format("  {} {}", key, value);
  }
  return line;
}

nlohmann::ordered_json value_as_json(std::string_view text) {
  if (const auto number = parse_number(text)) {
    return *number;
  }
  return std::string(text);
}

nlohmann::ordered_json as_json(const EventLine& event) {
  nlohmann::ordered_json object;
  object["time"] = static_cast<double>(event.wall_us) / static_cast<double>(kMicrosPerSecond);
  object["kind"] = event.kind;
  object["object"] = event.object;
  for (const auto& [key, value] : event.words.entries()) {
    object.emplace(key, value_as_json(value));
  }
  return object;
}

std::vector<std::string> take_lines(std::string& pending) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t end = 0; (end = pending.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    lines.push_back(pending.substr(begin, end - begin));
  }
  pending.erase(0, begin);
  return lines;
}

}  // namespace flowfs::cli
