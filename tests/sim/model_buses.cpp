// SPDX-License-Identifier: BSD-3-Clause
// Buses and their members.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "model.hpp"

namespace flowfs::registry::sim {

namespace {

auto key_of(const Port& port) {
  return std::tuple(port.id, port.bus, port.number, port.opener.uid, port.opener.gid,
                    port.opener.pid, port.rights.receive, port.rights.send);
}

std::string mode_of(Rights rights) {
  return std::string(rights.receive ? "r" : "") + (rights.send ? "w" : "");
}

}  // namespace

std::string text_of(const Buses::BusEvent& event) {
  return fmt::format("bus {} {}: {} {} {} {}", std::to_underlying(event.bus),
                     event.everywhere ? "everywhere" : "here", to_string(event.event.kind),
                     event.event.object, event.event.uid, event.event.detail);
}

Model::BusModel* Model::find_bus(BusId id) {
  const auto found = std::ranges::find(buses_, id, &BusModel::id);
  return found == buses_.end() ? nullptr : &*found;
}

Model::BusModel* Model::find_bus(std::string_view text) {
  const auto found = std::ranges::find(buses_, text, &BusModel::name);
  return found == buses_.end() ? nullptr : &*found;
}

std::vector<Port> Model::ports_of(BusId id) const {
  std::vector<Port> found;
  std::ranges::copy_if(ports_, std::back_inserter(found),
                       [id](const Port& port) { return port.bus == id; });
  return found;
}

std::uint64_t Model::readers_of(BusId id) const {
  return static_cast<std::uint64_t>(std::ranges::count_if(
      ports_, [id](const Port& port) { return port.bus == id && port.rights.receive; }));
}

std::uint64_t Model::writers_of(BusId id) const {
  return static_cast<std::uint64_t>(std::ranges::count_if(
      ports_, [id](const Port& port) { return port.bus == id && port.rights.send; }));
}

void Model::bus_event(const BusModel& bus, bool everywhere, EventKind kind, uid_t uid,
                      const std::string& detail) {
  Buses::BusEvent event{.bus = bus.id, .everywhere = everywhere, .event = {}};
  event.event = {.kind = kind, .object = "buses/" + bus.name, .uid = uid, .detail = detail};
  bus_events_.push_back(text_of(event));
}

void Model::port_event(const Port& port, EventKind kind, std::string_view more) {
  bus_event(*find_bus(port.bus), false, kind, port.opener.uid,
            fmt::format("port={} mode={} readers={} writers={}{}", std::to_underlying(port.number),
                        mode_of(port.rights), readers_of(port.bus), writers_of(port.bus), more));
}

int Model::create_bus(std::string_view text, uid_t owner, uid_t payer, const BusSettings& settings,
                      BusId id) {
  if (const int error = text_error(text); error != 0) {
    return error;
  }
  if (find_bus(text) != nullptr) {
    return EEXIST;
  }
  if (const int error = charge_error(payer, Resource::buses); error != 0) {
    return error;
  }
  reused_id_ |= !bus_ids_.insert(id).second;
  buses_.push_back({id, std::string(text), owner, payer, settings});
  bus_event(buses_.back(), true, EventKind::bus_created, owner, "");
  return 0;
}

int Model::remove_bus(std::string_view text, uid_t by) {
  const BusModel* bus = find_bus(text);
  if (bus == nullptr || !ports_of(bus->id).empty()) {
    return bus == nullptr ? ENOENT : EBUSY;
  }
  bus_event(*bus, true, EventKind::bus_removed, by, "");
  std::erase_if(buses_, [&](const BusModel& one) { return one.name == text; });
  return 0;
}

int Model::rename_bus(std::string_view from, std::string_view to, uid_t by) {
  if (const int error = text_error(to); error != 0) {
    return error;
  }
  BusModel* bus = find_bus(from);
  if (bus == nullptr) {
    return ENOENT;
  }
  if (from == to) {
    return 0;
  }
  if (find_bus(to) != nullptr) {
    return EEXIST;
  }
  bus_event(*bus, true, EventKind::bus_renamed, by, fmt::format("to={}", to));
  bus->name = to;
  return 0;
}

int Model::exchange_buses(std::string_view one, std::string_view two, uid_t by) {
  BusModel* first = find_bus(one);
  BusModel* second = find_bus(two);
  if (first == nullptr || second == nullptr) {
    return ENOENT;
  }
  if (first != second) {
    bus_event(*first, true, EventKind::bus_renamed, by, fmt::format("exchanged={}", two));
    std::swap(first->name, second->name);
  }
  return 0;
}

int Model::set_bus(BusId id, const BusSettings& settings, uid_t by) {
  BusModel& bus = *find_bus(id);
  const bool other_policy = settings.policy != bus.settings.policy;
  if (settings.ports < ports_of(id).size() || settings.writers < writers_of(id) ||
      (other_policy && !ports_of(id).empty())) {
    return EBUSY;
  }
  bus.settings = settings;
  if (other_policy) {
    bus_event(bus, false, EventKind::bus_policy, by,
              fmt::format("policy={} readers=0 writers=0", to_string(settings.policy)));
  }
  return 0;
}

// The owner and root may have every free port; strangers share, and leave the owner a tenth.
bool Model::has_port(const BusModel& bus, uid_t uid) const {
  std::map<uid_t, std::uint64_t> held;
  std::uint64_t taken = 0;
  for (const Port& port : ports_of(bus.id)) {
    ++held[port.opener.uid];
    ++taken;
  }
  if (taken >= bus.settings.ports || uid == bus.owner || uid == 0) {
    return taken < bus.settings.ports;
  }
  const std::uint64_t free = bus.settings.ports - taken;
  const std::uint64_t mine = held[uid];
  if (free + held[bus.owner] <= bus.settings.ports / 10) {
    return false;
  }
  std::uint64_t strangers = 0;
  for (const auto& [one, count] : held) {
    strangers += one != 0 && one != bus.owner && (count > 0 || one == uid) ? 1 : 0;
  }
  return mine < std::max<std::uint64_t>(1, (free + mine) / (strangers + 1));
}

int Model::join(BusId id, Opener who, Rights rights, PortId port_id) {
  const BusModel& bus = *find_bus(id);
  if (!has_port(bus, who.uid)) {
    return EADDRNOTAVAIL;
  }
  if (rights.send && writers_of(id) >= bus.settings.writers) {
    return EBUSY;
  }
  if (const int error = charge_error(who.uid, Resource::ports); error != 0) {
    return error;
  }
  std::uint32_t number = 1;
  while (std::ranges::any_of(ports_of(id),
                             [&](const Port& port) { return port.number == PortNumber{number}; })) {
    ++number;
  }
  reused_id_ |= !port_ids_.insert(port_id).second;
  ports_.push_back({.id = port_id,
                    .bus = id,
                    .number = PortNumber{number},
                    .opener = who,
                    .rights = rights,
                    .since = {}});
  port_event(ports_.back(), EventKind::bus_join, "");
  return 0;
}

void Model::leave_bus(PortId id, bool evicted) {
  const auto found = std::ranges::find(ports_, id, &Port::id);
  if (found != ports_.end()) {
    const Port port = *found;
    ports_.erase(found);
    port_event(port, EventKind::bus_leave, evicted ? " reason=evicted" : "");
  }
}

void Model::shut_down(PortId id, Rights rights) {
  Port& port = *std::ranges::find(ports_, id, &Port::id);
  const Rights left{.receive = port.rights.receive && !rights.receive,
                    .send = port.rights.send && !rights.send};
  if (left.receive != port.rights.receive || left.send != port.rights.send) {
    port.rights = left;
    port_event(port, EventKind::bus_shutdown, "");
  }
}

std::string Model::compare(const Buses& registry) const {
  std::vector<BusId> listed;
  for (const BusInfo* bus = registry.bus_from(BusId{}); bus != nullptr;
       bus = registry.bus_from(BusId{std::to_underlying(bus->id) + 1})) {
    listed.push_back(bus->id);
  }
  std::vector<BusId> expected;
  for (const BusModel& bus : buses_) {
    expected.push_back(bus.id);
    const BusInfo* found = registry.find(bus.name);
    std::map<PortNumber, PortId> ports;
    for (const Port& port : ports_of(bus.id)) {
      ports.emplace(port.number, port.id);
    }
    if (found == nullptr || found->id != bus.id || found->owner != bus.owner ||
        found->payer != bus.payer || !(found->settings == bus.settings) || found->ports != ports ||
        found->readers != readers_of(bus.id) || found->writers != writers_of(bus.id)) {
      return fmt::format("bus {} differs", bus.name);
    }
  }
  for (const Port& port : ports_) {
    const Port* found = registry.find_port(port.id);
    if (found == nullptr || key_of(*found) != key_of(port)) {
      return fmt::format("port {} differs", std::to_underlying(port.id));
    }
  }
  std::ranges::sort(expected);
  return listed == expected ? "" : "the list of buses differs";
}

}  // namespace flowfs::registry::sim
