// SPDX-License-Identifier: BSD-3-Clause
#include "cli/bus_view.hpp"

#include <fmt/format.h>

#include <array>
#include <sstream>

#include "cli/event_line.hpp"
#include "cli/table.hpp"

namespace flowfs::cli {
namespace {

// Of `stats`, in the order of the table.
constexpr std::array<std::string_view, 6> kCounts{"members", "readers", "writers",
                                                  "sent",    "dropped", "lag"};

std::string shown(std::string_view text) { return text.empty() ? "-" : std::string(text); }

std::optional<MemberRow> parse_member(const std::string& line) {
  std::istringstream words(line);
  MemberRow row;
  words >> row.port >> row.user >> row.pid >> row.mode >> row.lag >> row.delivered >> row.dropped >>
      row.age_us;
  return words.fail() ? std::nullopt : std::optional(row);
}

}  // namespace

std::vector<MemberRow> parse_members(std::string_view text) {
  std::vector<MemberRow> rows;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (auto row = parse_member(line)) {
      rows.push_back(std::move(*row));
    }
  }
  return rows;
}

std::string render(const std::vector<BusRow>& buses, std::size_t width) {
  Table table({{.title = "BUS", .elastic = true},
               {.title = "OWNER", .elastic = true},
               {.title = "POLICY"},
               {.title = "DELIVERY"},
               {.title = "MEMBERS", .align = Align::right},
               {.title = "READERS", .align = Align::right},
               {.title = "WRITERS", .align = Align::right},
               {.title = "SENT", .align = Align::right},
               {.title = "DROPPED", .align = Align::right},
               {.title = "LAG", .align = Align::right}});
  for (const BusRow& bus : buses) {
    std::vector<std::string> row{bus.name, bus.owner, shown(bus.policy), shown(bus.delivery)};
    for (const std::string_view key : kCounts) {
      const auto count = bus.stats.number(key);
      row.push_back(count ? short_number(*count) : "-");
    }
    table.add(std::move(row));
  }
  return table.render(width);
}

std::string render(const std::vector<MemberRow>& members, std::size_t width) {
  Table table({{.title = "PORT", .align = Align::right},
               {.title = "USER", .elastic = true},
               {.title = "PID", .align = Align::right},
               {.title = "MODE"},
               {.title = "LAG", .align = Align::right},
               {.title = "DELIVERED", .align = Align::right},
               {.title = "DROPPED", .align = Align::right},
               {.title = "AGE", .align = Align::right}});
  for (const MemberRow& member : members) {
    table.add({fmt::format("{}", member.port), member.user, member.pid, member.mode,
               short_number(member.lag), short_number(member.delivered),
               short_number(member.dropped), short_age(member.age_us)});
  }
  return table.render(width);
}

nlohmann::ordered_json as_json(const BusRow& bus) {
  nlohmann::ordered_json value{{"bus", bus.name}, {"owner", bus.owner}};
  if (!bus.policy.empty()) {
    value["policy"] = bus.policy;
    value["delivery"] = bus.delivery;
  }
  for (const auto& [key, text] : bus.stats.entries()) {
    value[key] = value_as_json(text);
  }
  return value;
}

nlohmann::ordered_json as_json(const MemberRow& member) {
  return {{"port", member.port},       {"user", member.user},    {"pid", value_as_json(member.pid)},
          {"mode", member.mode},       {"lag", member.lag},      {"delivered", member.delivered},
          {"dropped", member.dropped}, {"age_us", member.age_us}};
}

std::string short_age(std::uint64_t age_us) {
  struct Unit {
    std::uint64_t us;
    std::string_view name;
  };
  constexpr std::array<Unit, 4> kUnits{
      {{86'400'000'000, "d"}, {3'600'000'000, "h"}, {60'000'000, "m"}, {1'000'000, "s"}}};
  for (const Unit& unit : kUnits) {
    if (age_us >= unit.us) {
      return fmt::format("{}{}", age_us / unit.us, unit.name);
    }
  }
  return fmt::format("{}ms", age_us / 1000);
}

}  // namespace flowfs::cli
