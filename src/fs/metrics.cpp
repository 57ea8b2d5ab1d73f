// SPDX-License-Identifier: BSD-3-Clause
#include "fs/metrics.hpp"

#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "base/counters.hpp"

namespace flowfs::fs {
namespace {

using Type = MetricsText::Type;

void add_requests(MetricsText& text, const RequestCounters& counters) {
  text.family("flowfs_requests_total", "FUSE requests by operation.", Type::counter);
  for (std::size_t i = 0; i < kOps; ++i) {
    const Op op = static_cast<Op>(i);
    text.sample("flowfs_requests_total", {{"operation", to_string(op)}}, counters.asked_count(op));
  }
  text.family("flowfs_refused_total", "Requests refused, by operation and errno.", Type::counter);
  for (const auto& [what, count] : counters.refusals()) {
    const char* name = strerrorname_np(what.second);
    text.sample("flowfs_refused_total",
                {{"operation", to_string(what.first)}, {"reason", name != nullptr ? name : "?"}},
                count);
  }
}

void add_names(MetricsText& text, const registry::Registry& registry) {
  struct Column {
    std::string_view name;
    std::string_view help;
    Type type;
    std::uint64_t registry::NameStats::* field;
  };
  static constexpr Column kColumns[] = {
      {"flowfs_name_flows", "Flows of a name now.", Type::gauge, &registry::NameStats::flows_now},
      {"flowfs_name_flows_total", "Flows of a name ever.", Type::counter,
       &registry::NameStats::flows_ever},
      {"flowfs_name_refused_total", "Dials of a name refused.", Type::counter,
       &registry::NameStats::refused},
      {"flowfs_name_timed_out_total", "Dials of a name that waited too long.", Type::counter,
       &registry::NameStats::timed_out},
      {"flowfs_name_from_client_bytes_total", "Bytes that clients sent.", Type::counter,
       &registry::NameStats::bytes_from_client},
      {"flowfs_name_to_client_bytes_total", "Bytes that servers sent.", Type::counter,
       &registry::NameStats::bytes_to_client},
      {"flowfs_name_from_client_messages_total", "Messages that clients sent.", Type::counter,
       &registry::NameStats::messages_from_client},
      {"flowfs_name_to_client_messages_total", "Messages that servers sent.", Type::counter,
       &registry::NameStats::messages_to_client},
  };
  std::vector<const registry::Name*> names;
  for (const registry::Registry::Entry& entry : registry.list()) {
    if (const registry::Name* name = registry.find_name(entry.id); name != nullptr) {
      names.push_back(name);
    }
  }
  for (const Column& column : kColumns) {
    text.family(column.name, column.help, column.type);
    for (const registry::Name* name : names) {
      text.sample(column.name, {{"name", name->name}}, name->stats.*column.field);
    }
  }
}

// What only Ethernets have.
void add_ethernets(MetricsText& text, const Buses& buses,
                   std::span<const registry::BusInfo* const> all) {
  text.family("flowfs_bus_undelivered_frames_total", "Frames that nobody got, by reason.",
              Type::counter);
  for (const registry::BusInfo* one : all) {
    const auto& ethernet = buses.find(one->id)->ethernet;
    for (std::size_t why = 1; ethernet && why < bus::kDrops; ++why) {
      text.sample("flowfs_bus_undelivered_frames_total",
                  {{"bus", one->name}, {"reason", bus::to_string(bus::Drop(why))}},
                  ethernet->drops()[why]);
    }
  }
  const auto add = [&](std::string_view name, std::string_view help, Type type, auto value) {
    text.family(name, help, type);
    for (const registry::BusInfo* one : all) {
      const auto& ethernet = buses.find(one->id)->ethernet;
      if (ethernet && ethernet->learning() != nullptr) {
        text.sample(name, {{"bus", one->name}}, value(ethernet->learning()->stations()));
      }
    }
  };
  add("flowfs_bus_stations", "Stations that a switch knows.", Type::gauge,
      [](const bus::MacTable& table) { return table.size(); });
  add("flowfs_bus_station_moves_total", "Times a station was heard at another port than before.",
      Type::counter, [](const bus::MacTable& table) { return table.moves(); });
}

void add_buses(MetricsText& text, const Buses& buses) {
  struct Column {
    std::string_view name;
    std::string_view help;
    Type type;
    std::uint64_t bus::PortCounts::* field;
  };
  static constexpr Column kColumns[] = {
      {"flowfs_bus_sent_messages_total", "Messages sent on a bus.", Type::counter,
       &bus::PortCounts::sent},
      {"flowfs_bus_sent_bytes_total", "Bytes sent on a bus.", Type::counter,
       &bus::PortCounts::sent_bytes},
      {"flowfs_bus_delivered_messages_total", "Messages read, by each member that did.",
       Type::counter, &bus::PortCounts::delivered},
      {"flowfs_bus_dropped_messages_total", "Messages lost, by each member that did not read them.",
       Type::counter, &bus::PortCounts::dropped},
      {"flowfs_bus_lag_messages", "Messages still to be read, by each member.", Type::gauge,
       &bus::PortCounts::lag},
  };
  std::vector<const registry::BusInfo*> all;
  const registry::BusInfo* bus = buses.registry().bus_from(registry::BusId{0});
  while (bus != nullptr) {
    all.push_back(bus);
    buses.find(bus->id)->refresh();
    bus = buses.registry().bus_from(registry::BusId{std::to_underlying(bus->id) + 1});
  }
  text.family("flowfs_bus_members", "Members of a bus now.", Type::gauge);
  for (const registry::BusInfo* one : all) {
    text.sample("flowfs_bus_members", {{"bus", one->name}}, one->ports.size());
  }
  for (const Column& column : kColumns) {
    text.family(column.name, column.help, column.type);
    for (const registry::BusInfo* one : all) {
      text.sample(column.name, {{"bus", one->name}},
                  buses.find(one->id)->data.totals().*column.field);
    }
  }
  add_ethernets(text, buses, all);
}

void add_users(MetricsText& text, const registry::Users& users) {
  text.family("flowfs_used", "What a uid has been charged, by resource.", Type::gauge);
  for (const uid_t uid : users.known()) {
    const std::string number = std::to_string(uid);
    for (std::size_t i = 0; i < registry::kResources; ++i) {
      const auto resource = static_cast<registry::Resource>(i);
      text.sample("flowfs_used", {{"uid", number}, {"resource", to_string(resource)}},
                  users.used(uid, resource));
    }
  }
}

void add_pools(MetricsText& text, const Pools& pools) {
  const Pools::Counters& counters = pools.counters();
  text.single("flowfs_pool_sweeps_total", "Times a pool was searched for blocks left behind.",
              Type::counter, counters.sweeps);
  text.single("flowfs_pool_reclaimed_total", "Blocks that had been left behind.", Type::counter,
              counters.reclaimed);
  text.single("flowfs_pool_exhausted_total", "Times a member said that no block was free.",
              Type::counter, counters.exhausted);
  text.single("flowfs_pool_given_up_total", "Pools whose memory failed.", Type::counter,
              counters.given_up);
  text.family("flowfs_pool_blocks", "Blocks of a pool by size and state, as its members tell.",
              Type::gauge);
  for (Pool* pool : pools.with_memory()) {
    const auto classes = pool->geometry.classes();
    for (unsigned i = 0; i < classes.size(); ++i) {
      const pool::PoolKeeper::Census census = pool->store->keeper->census(i);
      const std::pair<std::string_view, std::uint32_t> states[] = {
          {"free", census.free}, {"held", census.held}, {"in_flight", census.in_flight}};
      for (const auto& [state, count] : states) {
        text.sample("flowfs_pool_blocks",
                    {{"pool", to_string(pool->owner)},
                     {"bytes", std::to_string(classes[i].block_bytes)},
                     {"state", state}},
                    count);
      }
    }
  }
}

}  // namespace

std::string format_metrics(const Tree& tree, const registry::Registry& registry,
                           const registry::Users& users, const SessionCounters& session) {
  MetricsText text;
  text.single("flowfs_throttled_total", "Requests held back because of a uid's rate.",
              Type::counter, session.held_back);
  text.single("flowfs_out_of_memory_total", "Requests refused because there was no memory.",
              Type::counter, session.out_of_memory);
  text.single("flowfs_flow_ends", "Ends of flows, pending ones included.", Type::gauge,
              registry.end_count());
  text.single("flowfs_open_files", "Open file descriptions of the tree.", Type::gauge,
              tree.open_files());
  text.single("flowfs_waiting_requests", "Requests that wait (reads, writes, opens).", Type::gauge,
              tree.parking().count());
  text.single("flowfs_locked_ranges", "Ranges of attribute files that are locked.", Type::gauge,
              tree.locks().range_count());
  text.single("flowfs_interrupted_total", "Waits that a signal ended.", Type::counter,
              tree.parking().interrupted());
  text.single("flowfs_events_total", "Lines written to events.", Type::counter,
              tree.events_published());
  text.single("flowfs_memory_connections", "Connections to the socket beside the mount.",
              Type::gauge, tree.memory_connections());
  text.single("flowfs_vde_connections", "Connections of VDE clients.", Type::gauge,
              tree.vde_connections());
  text.single("flowfs_mapped_members_thrown_out_total",
              "Mapped members of buses that broke the rules of their memory.", Type::counter,
              tree.mapped_buses().lies());
  text.single("flowfs_handshakes_admitted_total", "Dials that were let through.", Type::counter,
              tree.handshakes().admitted());
  text.single("flowfs_handshakes_refused_total", "Dials that the policy of their name refused.",
              Type::counter, tree.handshakes().refused());
  add_requests(text, tree.counters());
  add_names(text, registry);
  add_buses(text, tree.buses());
  add_users(text, users);
  add_pools(text, tree.pools());
  return text.take();
}

}  // namespace flowfs::fs
