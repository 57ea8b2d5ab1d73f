// SPDX-License-Identifier: BSD-3-Clause
#include "cli/top_view.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/table.hpp"

namespace flowfs::cli {
namespace {

constexpr std::string_view kUnknown = "-";

std::string shown(double value) {
  return short_number(static_cast<std::uint64_t>(std::llround(std::max(value, 0.0))));
}
std::string shown(const std::optional<double>& value) {
  return value ? shown(*value) : std::string(kUnknown);
}
std::string both(const std::optional<double>& out, const std::optional<double>& in) {
  return shown(out) + "/" + shown(in);
}

double sum(const std::optional<double>& one, const std::optional<double>& other) {
  return one.value_or(0) + other.value_or(0);
}

nlohmann::ordered_json or_null(const std::optional<double>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

std::string value_or_dash(const KeyValues& values, std::string_view key) {
  const auto number = values.number(key);
  return number ? short_number(*number) : std::string(kUnknown);
}

}  // namespace

std::optional<double> TopView::rate(const KeyValues* before, const KeyValues& now,
                                    std::string_view key) const {
  if (before == nullptr) {
    return std::nullopt;
  }
  const auto from = before->number(key);
  const auto to = now.number(key);
  // One that went back belongs to a new object of the same name.
  if (!from || !to || *to < *from || seconds() <= 0) {
    return std::nullopt;
  }
  return static_cast<double>(*to - *from) / seconds();
}

double TopView::rate(std::string_view metric) const {
  const double moved = now_.metrics.total(metric) - before_.metrics.total(metric);
  return seconds() <= 0 ? 0 : std::max(moved, 0.0) / seconds();
}

TopView::Rates TopView::rates(const KeyValues* before, const KeyValues& now, std::string_view out,
                              std::string_view in) const {
  return {.messages_out = rate(before, now, fmt::format("messages_{}", out)),
          .messages_in = rate(before, now, fmt::format("messages_{}", in)),
          .bytes_out = rate(before, now, fmt::format("bytes_{}", out)),
          .bytes_in = rate(before, now, fmt::format("bytes_{}", in))};
}

const NameStatus* TopView::find_before(const NameStatus& name) const {
  const auto& names = before_.snapshot.names;
  const auto found = std::ranges::find(names, name.name, &NameStatus::name);
  return found == names.end() ? nullptr : &*found;
}

TopView::Rates TopView::rates_of(const NameStatus& name) const {
  const NameStatus* const before = find_before(name);
  return rates(before == nullptr ? nullptr : &before->stats, name.stats, "to_client",
               "from_client");
}

std::vector<TopView::Row> TopView::flows(TopSort sort) const {
  std::vector<Row> rows;
  for (const FlowStatus& flow : now_.snapshot.flows) {
    const auto before = std::ranges::find(before_.snapshot.flows, flow.id, &FlowStatus::id);
    const KeyValues* const stats =
        before == before_.snapshot.flows.end() ? nullptr : &before->stats;
    rows.push_back({.flow = &flow, .rates = rates(stats, flow.stats, "sent", "from_peer")});
  }
  const auto name_of = [](const Row& row) { return row.flow->peer.find("name").value_or(""); };
  const auto by = [&rows](const auto& key, const auto& is_before) {
    std::ranges::sort(rows, [&](const Row& one, const Row& other) {
      const auto left = key(one);
      const auto right = key(other);
      const bool alike = !is_before(left, right) && !is_before(right, left);
      return alike ? one.flow->id < other.flow->id : is_before(left, right);
    });
  };
  switch (sort) {
    case TopSort::id:
      break;
    case TopSort::messages:
      by([](const Row& row) { return sum(row.rates.messages_out, row.rates.messages_in); },
         std::greater{});
      break;
    case TopSort::bytes:
      by([](const Row& row) { return sum(row.rates.bytes_out, row.rates.bytes_in); },
         std::greater{});
      break;
    case TopSort::name:
      by(name_of, std::less{});
      break;
  }
  return rows;
}

std::string TopView::summary() const {
  const Metrics& metrics = now_.metrics;
  return fmt::format("{}: {} requests/s, {} refused/s, {} waiting, {} files open, {} events/s\n",
                     now_.snapshot.mount, shown(rate("flowfs_requests_total")),
                     shown(rate("flowfs_refused_total")),
                     shown(metrics.total("flowfs_waiting_requests")),
                     shown(metrics.total("flowfs_open_files")), shown(rate("flowfs_events_total")));
}

std::string TopView::render_flows(std::size_t width, TopSort sort) const {
  Table table({{"ID", Align::right},
               {"STATE"},
               {"NAME", Align::left, true},
               {"PEER", Align::left, true},
               {"PID", Align::right},
               {"MSGS/s", Align::right},
               {"BYTES/s", Align::right},
               {"QUEUED", Align::right}});
  for (const Row& row : flows(sort)) {
    const FlowStatus& flow = *row.flow;
    table.add({fmt::format("{}", flow.id), flow.state,
               std::string(flow.peer.find("name").value_or(kUnknown)),
               flow.peer_user.empty() ? std::string(kUnknown) : flow.peer_user,
               std::string(flow.peer.find("pid").value_or(kUnknown)),
               both(row.rates.messages_out, row.rates.messages_in),
               both(row.rates.bytes_out, row.rates.bytes_in),
               value_or_dash(flow.stats, "bytes_queued")});
  }
  return heading("flows", now_.snapshot.flows.size(), now_.snapshot.hidden_flows,
                 "of others, hidden") +
         (table.empty() ? "" : table.render(width));
}

std::string TopView::render_names(std::size_t width) const {
  Table table({{"NAME", Align::left, true},
               {"FLOWS", Align::right},
               {"NEW/s", Align::right},
               {"REFUSED/s", Align::right},
               {"MSGS/s", Align::right},
               {"BYTES/s", Align::right}});
  for (const NameStatus& name : now_.snapshot.names) {
    if (!name.alias_of.empty() || !name.open) {
      continue;
    }
    const NameStatus* const before = find_before(name);
    const KeyValues* const stats = before == nullptr ? nullptr : &before->stats;
    const Rates traffic = rates_of(name);
    table.add({name.name, value_or_dash(name.stats, "flows"),
               shown(rate(stats, name.stats, "flows_ever")),
               shown(rate(stats, name.stats, "refused")),
               both(traffic.messages_out, traffic.messages_in),
               both(traffic.bytes_out, traffic.bytes_in)});
  }
  return heading("names", now_.snapshot.names.size(), 0, "") +
         (table.empty() ? "" : table.render(width));
}

double TopView::blocks(const PoolStatus& pool, std::string_view state) const {
  return now_.metrics.total("flowfs_pool_blocks",
                            {{"pool", pool.name}, {"state", std::string(state)}});
}

std::string TopView::render_pools(std::size_t width) const {
  if (now_.pools.empty()) {
    return {};
  }
  Table table({{"POOL", Align::left, true},
               {"OWNER", Align::left, true},
               {"SIZE", Align::right},
               {"FREE", Align::right},
               {"HELD", Align::right},
               {"IN FLIGHT", Align::right}});
  for (const PoolStatus& pool : now_.pools) {
    table.add({pool.name, pool.owner, short_number(pool.size_bytes), shown(blocks(pool, "free")),
               shown(blocks(pool, "held")), shown(blocks(pool, "in_flight"))});
  }
  return "\n" + heading("pools", now_.pools.size(), 0, "") + table.render(width);
}

std::string TopView::render(std::size_t width, TopSort sort) const {
  return summary() + "\n" + render_flows(width, sort) + "\n" + render_names(width) + "\n" +
         render_users(now_.snapshot, width) + render_pools(width);
}

nlohmann::ordered_json TopView::rates_as_json(const Rates& rates) {
  return {{"messages_out_per_s", or_null(rates.messages_out)},
          {"messages_in_per_s", or_null(rates.messages_in)},
          {"bytes_out_per_s", or_null(rates.bytes_out)},
          {"bytes_in_per_s", or_null(rates.bytes_in)}};
}

nlohmann::ordered_json TopView::as_json(TopSort sort) const {
  using nlohmann::ordered_json;
  ordered_json object{{"type", "sample"},
                      {"mount", now_.snapshot.mount},
                      {"interval_s", seconds()},
                      {"requests_per_s", rate("flowfs_requests_total")},
                      {"refused_per_s", rate("flowfs_refused_total")},
                      {"waiting_requests", now_.metrics.total("flowfs_waiting_requests")}};
  object["flows"] = ordered_json::array();
  for (const Row& row : flows(sort)) {
    ordered_json flow{
        {"id", row.flow->id}, {"state", row.flow->state}, {"peer", values_as_json(row.flow->peer)}};
    flow.update(rates_as_json(row.rates));
    object["flows"].push_back(flow);
  }
  object["names"] = ordered_json::array();
  for (const NameStatus& name : now_.snapshot.names) {
    if (name.alias_of.empty() && name.open) {
      ordered_json entry{{"name", name.name}, {"stats", values_as_json(name.stats)}};
      entry.update(rates_as_json(rates_of(name)));
      object["names"].push_back(entry);
    }
  }
  object["users"] = ordered_json::array();
  for (const UserStatus& user : now_.snapshot.users) {
    object["users"].push_back({{"user", user.user},
                               {"usage", values_as_json(user.usage)},
                               {"limits", values_as_json(user.limits)}});
  }
  object["pools"] = ordered_json::array();
  for (const PoolStatus& pool : now_.pools) {
    object["pools"].push_back({{"name", pool.name},
                               {"owner", pool.owner},
                               {"size_bytes", pool.size_bytes},
                               {"free", blocks(pool, "free")},
                               {"held", blocks(pool, "held")},
                               {"in_flight", blocks(pool, "in_flight")}});
  }
  object["hidden"] = {{"flows", now_.snapshot.hidden_flows}, {"users", now_.snapshot.hidden_users}};
  return object;
}

}  // namespace flowfs::cli
