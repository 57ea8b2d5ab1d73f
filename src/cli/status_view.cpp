// SPDX-License-Identifier: BSD-3-Clause
#include "cli/status_view.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/event_line.hpp"
#include "cli/table.hpp"

namespace flowfs::cli {
namespace {

constexpr std::size_t kShownTarget = 40;

// An alias may point to any text: what is long is cut, what is no plain ASCII is a `?`.
std::string shown_target(std::string_view target) {
  std::string shown(target.substr(0, kShownTarget));
  std::ranges::replace_if(shown, [](char c) { return c < ' ' || c > '~'; }, '?');
  return target.size() > kShownTarget ? shown + "..." : shown;
}

constexpr std::string_view kUnknown = "-";

std::string number_or_dash(const KeyValues& values, std::string_view key) {
  const auto number = values.number(key);
  return number ? short_number(*number) : std::string(kUnknown);
}

// "12/5": sent and received.
std::string both_ways(const KeyValues& stats, std::string_view what) {
  return fmt::format("{}/{}", number_or_dash(stats, fmt::format("{}_sent", what)),
                     number_or_dash(stats, fmt::format("{}_from_peer", what)));
}

// The value where it is a limit that has a number: 1048576 is 1048.6k; `max` stays.
std::string short_value(std::string_view value) {
  const auto number = parse_number(value);
  return number ? short_number(*number) : std::string(value);
}

std::string render_names(const Snapshot& snapshot, std::size_t width) {
  Table table({{"NAME", Align::left, true},
               {"OWNER", Align::left, true},
               {"DIAL"},
               {"SERVERS", Align::right},
               {"BACKLOG", Align::right},
               {"FLOWS", Align::right},
               {"EVER", Align::right},
               {"REFUSED", Align::right}});
  std::uint64_t closed = 0;
  for (const NameStatus& name : snapshot.names) {
    if (!name.alias_of.empty()) {
      table.add({fmt::format("{} -> {}", name.name, shown_target(name.alias_of)), name.owner, "",
                 "", "", "", "", ""});
    } else if (!name.open) {
      ++closed;
      const std::string none(kUnknown);
      table.add({name.name, name.owner, none, none, none, none, none, none});
    } else {
      table.add(
          {name.name, name.owner, mode_in_letters(name.dial_mode, name.dial_acl),
           short_number(name.waiting_servers),
           fmt::format("{}/{}", short_number(name.waiting_clients), short_value(name.backlog)),
           number_or_dash(name.stats, "flows"), number_or_dash(name.stats, "flows_ever"),
           number_or_dash(name.stats, "refused")});
    }
  }
  return heading("names", snapshot.names.size(), closed, "closed to you") +
         (table.empty() ? "" : table.render(width));
}

std::string render_flows(const Snapshot& snapshot, std::size_t width) {
  Table table({{"ID", Align::right},
               {"STATE"},
               {"NAME", Align::left, true},
               {"PEER", Align::left, true},
               {"PID", Align::right},
               {"MESSAGES", Align::right},
               {"BYTES", Align::right}});
  for (const FlowStatus& flow : snapshot.flows) {
    table.add({fmt::format("{}", flow.id), flow.state,
               std::string(flow.peer.find("name").value_or(kUnknown)),
               flow.peer_user.empty() ? std::string(kUnknown) : flow.peer_user,
               std::string(flow.peer.find("pid").value_or(kUnknown)),
               both_ways(flow.stats, "messages"), both_ways(flow.stats, "bytes")});
  }
  return heading("flows", snapshot.flows.size(), snapshot.hidden_flows, "of others, hidden") +
         (table.empty() ? "" : table.render(width));
}

std::string upper(std::string text) {
  std::ranges::transform(text, text.begin(), [](char letter) {
    return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
  });
  return text;
}

nlohmann::ordered_json name_as_json(const NameStatus& name) {
  nlohmann::ordered_json object;
  object["name"] = name.name;
  object["owner"] = name.owner;
  if (!name.alias_of.empty()) {
    object["alias_of"] = name.alias_of;
    return object;
  }
  object["readable"] = name.open;
  if (name.open) {
    object["dial_mode"] = fmt::format("{:04o}", name.dial_mode & 07777U);
    object["dial_acl"] = name.dial_acl;
    object["waiting_servers"] = name.waiting_servers;
    object["waiting_clients"] = name.waiting_clients;
    object["backlog"] = value_as_json(name.backlog);
    object["stats"] = values_as_json(name.stats);
  }
  return object;
}

}  // namespace

std::string heading(std::string_view what, std::size_t shown, std::uint64_t hidden,
                    std::string_view why) {
  std::string text = fmt::format("{} ({}", what, shown);
  if (hidden > 0) {
    text += fmt::format("; {} {}", hidden, why);
  }
  return text + ")\n";
}

std::string render_users(const Snapshot& snapshot, std::size_t width) {
  std::vector<Column> columns{{"USER", Align::left, true}};
  if (!snapshot.users.empty()) {
    for (const auto& [resource, used] : snapshot.users.front().usage.entries()) {
      columns.push_back({upper(resource), Align::right});
    }
  }
  const std::vector<Column> resources(columns.begin() + 1, columns.end());
  Table table(std::move(columns));
  for (const UserStatus& user : snapshot.users) {
    std::vector<std::string> row{user.user};
    for (const auto& [resource, first_used] : snapshot.users.front().usage.entries()) {
      row.push_back(fmt::format("{}/{}", short_value(user.usage.find(resource).value_or(kUnknown)),
                                short_value(user.limits.find(resource).value_or(kUnknown))));
    }
    table.add(std::move(row));
  }
  return heading("users", snapshot.users.size(), snapshot.hidden_users, "hidden") +
         (table.empty() ? "" : table.render(width));
}

nlohmann::ordered_json values_as_json(const KeyValues& values) {
  auto object = nlohmann::ordered_json::object();
  for (const auto& [key, value] : values.entries()) {
    object[key] = value_as_json(value);
  }
  return object;
}

void count_waiting(Snapshot& snapshot) {
  for (const FlowStatus& flow : snapshot.flows) {
    const auto name = flow.peer.find("name");
    const auto found = std::ranges::find_if(
        snapshot.names, [&](const NameStatus& status) { return name && status.name == *name; });
    if (found == snapshot.names.end()) {
      continue;
    }
    found->waiting_servers += flow.state == "accept-pending" ? 1U : 0U;
    found->waiting_clients += flow.state == "alloc-pending" ? 1U : 0U;
  }
}

std::string mode_in_letters(mode_t mode, bool acl) {
  constexpr std::string_view kLetters = "rwxrwxrwx";
  std::string text;
  for (std::size_t bit = 0; bit < kLetters.size(); ++bit) {
    text += (mode & (0400U >> bit)) != 0 ? kLetters[bit] : '-';
  }
  return text + (acl ? "+" : "");
}

std::string render(const Snapshot& snapshot, std::size_t width) {
  return render_names(snapshot, width) + "\n" + render_flows(snapshot, width) + "\n" +
         render_users(snapshot, width);
}

nlohmann::ordered_json as_json(const Snapshot& snapshot) {
  using nlohmann::ordered_json;
  ordered_json object;
  object["mount"] = snapshot.mount;
  object["names"] = ordered_json::array();
  for (const NameStatus& name : snapshot.names) {
    object["names"].push_back(name_as_json(name));
  }
  object["flows"] = ordered_json::array();
  for (const FlowStatus& flow : snapshot.flows) {
    object["flows"].push_back({{"id", flow.id},
                               {"state", flow.state},
                               {"peer", values_as_json(flow.peer)},
                               {"stats", values_as_json(flow.stats)}});
  }
  object["users"] = ordered_json::array();
  for (const UserStatus& user : snapshot.users) {
    object["users"].push_back({{"uid", value_as_json(user.uid)},
                               {"user", user.user},
                               {"usage", values_as_json(user.usage)},
                               {"limits", values_as_json(user.limits)}});
  }
  object["hidden"] = {{"flows", snapshot.hidden_flows}, {"users", snapshot.hidden_users}};
  return object;
}

}  // namespace flowfs::cli
