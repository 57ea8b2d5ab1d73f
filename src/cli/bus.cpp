// SPDX-License-Identifier: BSD-3-Clause
// The actions of `flowctl bus` that look at buses.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "cli/bus_actions.hpp"
#include "cli/bus_view.hpp"
#include "cli/snapshot.hpp"
#include "cli/table.hpp"

namespace flowfs::cli {
namespace {

// Empty where it is hidden or has gone.
std::string setting(const std::string& folder, std::string_view file) {
  const Result<std::string> text = read_attribute(fmt::format("{}/{}", folder, file));
  return text ? std::string(trim(*text)) : "";
}

BusRow look_at_bus(const std::string& folder, const std::string& name, uid_t owner) {
  return {.name = name,
          .owner = user_name(owner),
          .policy = setting(folder, "policy"),
          .delivery = setting(folder, "delivery"),
          .stats = KeyValues::parse_lines(setting(folder, "stats"))};
}

int list_buses(const Common& common) {
  const std::string buses = common.path("buses");
  const auto names = list_folder(buses);
  if (!names) {
    return failed(Deed::read_tree, buses, names.error().error);
  }
  std::vector<BusRow> rows;
  for (const std::string& name : *names) {
    const std::string folder = fmt::format("{}/{}", buses, name);
    struct stat found{};
    if (stat(folder.c_str(), &found) == 0) {  // else it has just gone
      rows.push_back(look_at_bus(folder, name, found.st_uid));
    }
  }
  if (!common.json) {
    print_text(render(rows, terminal_width(STDOUT_FILENO)));
    return kDone;
  }
  for (const BusRow& row : rows) {
    print_json(as_json(row));
  }
  return kDone;
}

int list_members(const Common& common, const std::string& bus) {
  const std::string path = common.path(fmt::format("buses/{}/members", bus));
  const Result<std::string> text = read_attribute(path);
  if (!text) {
    return failed(Deed::read_tree, path, text.error().error);
  }
  std::vector<MemberRow> rows = parse_members(*text);
  for (MemberRow& row : rows) {
    if (const auto uid = parse_number(row.user)) {
      row.user = user_name(static_cast<uid_t>(*uid));
    }
  }
  if (!common.json) {
    print_text(render(rows, terminal_width(STDOUT_FILENO)));
    return kDone;
  }
  for (const MemberRow& row : rows) {
    print_json(as_json(row));
  }
  return kDone;
}

// The words that an action wants behind it; false: it complained.
bool check_words(const BusOptions& options) {
  struct Shape {
    BusAction action;
    std::size_t buses;
    std::size_t words;
    const char* usage;
  };
  static constexpr Shape kShapes[] = {
      {BusAction::list, 0, 0, "bus list"},
      {BusAction::members, 1, 1, "bus members BUS"},
      {BusAction::watch, 1, 1, "bus watch BUS"},
      {BusAction::record, 1, 2, "bus record BUS FILE"},
      {BusAction::replay, 1, 2, "bus replay BUS FILE"},
      {BusAction::link, 2, 2, "bus link BUS BUS, or bus link BUS --dial NAME or --accept NAME"},
  };
  const bool by_flow = !options.dial.empty() || !options.accept.empty();
  if (by_flow && options.action != BusAction::link) {
    complain("--dial and --accept are for a link");
    return false;
  }
  for (const Shape& shape : kShapes) {
    if (shape.action == options.action && options.words.size() + (by_flow ? 1 : 0) != shape.words) {
      complain(fmt::format("this is used as: flowctl {}", shape.usage));
      return false;
    }
    const std::size_t buses = std::min(shape.buses, options.words.size());
    for (std::size_t i = 0; shape.action == options.action && i < buses; ++i) {
      if (!check_name(options.words[i])) {
        return false;
      }
    }
  }
  if (options.delay_s != 0 && options.action != BusAction::list &&
      options.action != BusAction::members) {
    complain("--delay is for what shows a table");
    return false;
  }
  return !by_flow || check_name(options.dial.empty() ? options.accept : options.dial);
}

int show_table(const Common& common, const BusOptions& options) {
  return options.action == BusAction::list ? list_buses(common)
                                           : list_members(common, options.words[0]);
}

// Before it is looked at. False: there is none, and that is told.
bool is_there(const Common& common, const std::string& bus) {
  const std::string object = fmt::format("buses/{}", bus);
  if (access(common.path(object).c_str(), F_OK) == 0 || errno != ENOENT) {
    return true;
  }
  failed(Deed::bus, object, ENOENT);
  return false;
}

// The table again and again; in the same place where that is a terminal.
int show_live(const Common& common, const BusOptions& options, Interrupts& interrupts) {
  const char* const between = isatty(STDOUT_FILENO) != 0 ? "\x1b[H\x1b[2J" : "\n";
  const auto delay_ns = std::chrono::nanoseconds(micros_of(options.delay_s)).count();
  const timespec delay{.tv_sec = delay_ns / 1'000'000'000, .tv_nsec = delay_ns % 1'000'000'000};
  int code = show_table(common, options);
  for (std::uint64_t shown = 1; code == kDone && shown != options.count; ++shown) {
    if (nanosleep(&delay, nullptr) != 0 && interrupts.stop()) {
      break;
    }
    if (!common.json) {
      print_text(between);
    }
    code = show_table(common, options);
  }
  return code;
}

int until_stopped(const Common& common, const BusOptions& options,
                  int (*action)(const Common&, const BusOptions&, Interrupts&)) {
  auto interrupts = Interrupts::install();
  if (!interrupts) {
    complain(fmt::format("signals: {}", interrupts.error().message()));
    return kFailed;
  }
  return action(common, options, *interrupts);
}

}  // namespace

int run_bus(const Common& common, const BusOptions& options) {
  if (!check_words(options)) {
    return kUsage;
  }
  const bool looks = options.action == BusAction::members || options.action == BusAction::watch;
  if (looks && !is_there(common, options.words[0])) {
    return kFailed;
  }
  switch (options.action) {
    case BusAction::list:
    case BusAction::members:
      return options.delay_s == 0 ? show_table(common, options)
                                  : until_stopped(common, options, show_live);
    case BusAction::watch:
      return follow_events(common, common.path(fmt::format("buses/{}/events", options.words[0])),
                           {.kinds = {}, .object_glob = {}, .count = options.count, .ends = true});
    case BusAction::record:
      return until_stopped(common, options, record_bus);
    case BusAction::replay:
      return until_stopped(common, options, replay_bus);
    case BusAction::link:
      return until_stopped(common, options, link_buses);
  }
  return kUsage;
}

}  // namespace flowfs::cli
