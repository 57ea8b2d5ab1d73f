// SPDX-License-Identifier: BSD-3-Clause
// The lines of `events`: SECONDS.MICROS KIND OBJECT uid=UID [key=value ...]
//
// A lost marker has the object `-` and `count=N`. Input: what does not look like this is nullopt.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/key_value.hpp"

namespace flowfs::cli {

struct EventLine {
  std::uint64_t wall_us = 0;  // since the epoch
  std::string kind;
  std::string object;
  KeyValues words;
};

// Every kind that `events` has, as flowfs(7) lists them.
std::vector<std::string> event_kinds();

std::optional<EventLine> parse_event(std::string_view line);

// What `flowctl watch` was asked to show. Empty: everything. Lost markers always match: who filters
// must still learn that something may be missing.
struct EventFilter {
  std::vector<std::string> kinds;
  std::string object_glob;
};
bool matches(const EventFilter& filter, const EventLine& event);

// One line for a person, without newline; the time is local.
std::string readable(const EventLine& event);
// The same as one object: time (seconds since the epoch, a number), kind, object, and every word.
nlohmann::ordered_json as_json(const EventLine& event);

// A number where the text is one, else the text.
nlohmann::ordered_json value_as_json(std::string_view text);

// The part of `pending` up to the last newline, cut into lines; the rest stays.
std::vector<std::string> take_lines(std::string& pending);

}  // namespace flowfs::cli
