// SPDX-License-Identifier: BSD-3-Clause
// Structured log lines for people and for the journal, through spdlog.
//
// A line is a message and `key=value` fields. On a terminal it begins with the time and the level;
// where JOURNAL_STREAM names stderr it begins with the level as "<N>" and has no time, as systemd
// reads it. Control characters are shown as \xNN: a client cannot forge a line.
// Never called on a path that runs per message: count there, log on the edge.
// Threads: any.
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace flowfs::log {

enum class Level { error, warning, notice, info, debug };

void set_level(Level level);  // info at start
// error|warning|notice|info|debug; false for anything else.
bool parse_level(std::string_view text, Level& level);
[[nodiscard]] bool enabled(Level level);
void write(Level level, std::string_view line);

template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void notice(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::notice, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::info)) {
    write(Level::info, fmt::format(format, std::forward<Args>(args)...));
  }
}
template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::debug)) {
    write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
  }
}

}  // namespace flowfs::log
