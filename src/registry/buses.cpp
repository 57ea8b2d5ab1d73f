// SPDX-License-Identifier: BSD-3-Clause
#include "registry/buses.hpp"

#include <algorithm>
#include <utility>

#include "registry/paths.hpp"

namespace flowfs::registry {
namespace {

std::string text_of(const Port& port) {
  const char* mode = port.rights.receive && port.rights.send ? "rw"
                     : port.rights.receive                   ? "r"
                                                             : "w";
  return "port=" + std::to_string(std::to_underlying(port.number)) + " mode=" + mode;
}

}  // namespace

std::string_view to_string(BusPolicy policy) {
  switch (policy) {
    case BusPolicy::broadcast:
      return "broadcast";
    case BusPolicy::ethernet_switch:
      return "switch";
    case BusPolicy::ethernet_hub:
      return "hub";
  }
  return "unknown";
}

std::string_view to_string(Delivery delivery) {
  switch (delivery) {
    case Delivery::lossy:
      return "lossy";
    case Delivery::lossless:
      return "lossless";
  }
  return "unknown";
}

Result<BusId> Buses::create(std::string_view name, Opener who, const BusSettings& settings) {
  return add(name, who.uid, who.uid, settings);
}

Result<BusId> Buses::declare(std::string_view name, uid_t owner, const BusSettings& settings) {
  return add(name, owner, 0, settings);
}

Result<BusId> Buses::add(std::string_view name, uid_t owner, uid_t payer,
                         const BusSettings& settings) {
  if (const Status valid = check_new_name(name); !valid) {
    return std::unexpected(valid.error());
  }
  if (index_.contains(name)) {
    return fail(EEXIST, "bus");
  }
  Result<Charge> charge = users_.charge(payer, Resource::buses, 1);
  if (!charge) {
    return std::unexpected(charge.error());
  }
  const BusId id{next_bus_++};
  Record record;
  record.info.id = id;
  record.info.name = name;
  record.info.owner = owner;
  record.info.payer = payer;
  record.info.settings = settings;
  record.charge = std::move(*charge);
  const Record& made = buses_.emplace(id, std::move(record)).first->second;
  index_.emplace(name, id);
  publish(made.info, EventKind::bus_created, true, owner, {});
  return id;
}

Status Buses::remove(std::string_view name, uid_t by) {
  const auto entry = index_.find(name);
  if (entry == index_.end()) {
    return fail(ENOENT, "bus");
  }
  const auto found = buses_.find(entry->second);
  if (!found->second.info.ports.empty()) {
    return fail(EBUSY, "bus");
  }
  publish(found->second.info, EventKind::bus_removed, true, by, {});
  buses_.erase(found);
  index_.erase(entry);
  return {};
}

Status Buses::rename(std::string_view from, std::string_view to, uid_t by) {
  if (const Status valid = check_new_name(to); !valid) {
    return valid;
  }
  const auto source = index_.find(from);
  if (source == index_.end()) {
    return fail(ENOENT, "rename");
  }
  if (from == to) {
    return {};
  }
  const auto [target, is_new] = index_.try_emplace(std::string(to), source->second);
  if (!is_new) {
    return fail(EEXIST, "rename");
  }
  BusInfo& bus = buses_.at(source->second).info;
  publish(bus, EventKind::bus_renamed, true, by, "to=" + target->first);
  index_.erase(source);
  bus.name = target->first;
  return {};
}

Status Buses::exchange(std::string_view one, std::string_view two, uid_t by) {
  const auto first = index_.find(one);
  const auto second = index_.find(two);
  if (first == index_.end() || second == index_.end()) {
    return fail(ENOENT, "exchange");
  }
  if (first != second) {
    publish(buses_.at(first->second).info, EventKind::bus_renamed, true, by,
            "exchanged=" + second->first);
    std::swap(first->second, second->second);
    // From the index: the arguments may look into the very texts that change.
    buses_.at(first->second).info.name = first->first;
    buses_.at(second->second).info.name = second->first;
  }
  return {};
}

Status Buses::set_settings(BusId id, const BusSettings& settings, uid_t by) {
  BusInfo& bus = buses_.at(id).info;
  if (settings.ports < bus.ports.size() || settings.writers < bus.writers) {
    return fail(EBUSY, "there are more members");
  }
  if (settings.policy != bus.settings.policy && !bus.ports.empty()) {
    return fail(EBUSY, "the policy of a bus with members");
  }
  const bool other_policy = settings.policy != bus.settings.policy;
  bus.settings = settings;
  if (other_policy) {
    publish_change(bus, EventKind::bus_policy, by,
                   "policy=" + std::string(to_string(settings.policy)));
  }
  return {};
}

const BusInfo* Buses::find(std::string_view name) const {
  const auto entry = index_.find(name);
  return entry == index_.end() ? nullptr : find(entry->second);
}

const BusInfo* Buses::find(BusId id) const {
  const auto record = buses_.find(id);
  return record == buses_.end() ? nullptr : &record->second.info;
}

const BusInfo* Buses::bus_from(BusId first) const {
  const auto record = buses_.lower_bound(first);
  return record == buses_.end() ? nullptr : &record->second.info;
}

Result<PortId> Buses::join(BusId id, Opener who, Rights rights, Instant now) {
  Record& record = buses_.at(id);
  BusInfo& bus = record.info;
  if (!record.places.may_take(bus.owner, who.uid, bus.settings.ports)) {
    return fail(EADDRNOTAVAIL, "no port is free");
  }
  if (rights.send && bus.writers >= bus.settings.writers) {
    return fail(EBUSY, "no more writers");
  }
  Result<Charge> charge = users_.charge(who.uid, Resource::ports, 1);
  if (!charge) {
    return std::unexpected(charge.error());
  }
  std::uint32_t number = 1;
  for (auto taken = bus.ports.begin();
       taken != bus.ports.end() && std::to_underlying(taken->first) == number; ++taken) {
    ++number;
  }
  const PortId port_id{next_port_++};
  record.places.take(who.uid);
  bus.ports.emplace(PortNumber{number}, port_id);
  bus.readers += rights.receive ? 1 : 0;
  bus.writers += rights.send ? 1 : 0;
  const Port port{.id = port_id,
                  .bus = id,
                  .number = PortNumber{number},
                  .opener = who,
                  .rights = rights,
                  .since = now};
  ports_.emplace(port_id, PortRecord{port, std::move(*charge)});
  publish_change(bus, EventKind::bus_join, port.opener.uid, text_of(port));
  return port_id;
}

void Buses::leave(PortId id, bool evicted) {
  const auto found = ports_.find(id);
  if (found == ports_.end()) {
    return;
  }
  const Port port = found->second.port;
  Record& record = buses_.at(port.bus);
  record.places.give_back(port.opener.uid);
  record.info.ports.erase(port.number);
  record.info.readers -= port.rights.receive ? 1 : 0;
  record.info.writers -= port.rights.send ? 1 : 0;
  ports_.erase(found);
  publish_change(record.info, EventKind::bus_leave, port.opener.uid, text_of(port),
                 evicted ? " reason=evicted" : "");
}

void Buses::shut_down(PortId id, Rights rights) {
  Port& port = ports_.at(id).port;
  BusInfo& bus = buses_.at(port.bus).info;
  const bool reads_no_more = port.rights.receive && rights.receive;
  const bool writes_no_more = port.rights.send && rights.send;
  if (!reads_no_more && !writes_no_more) {
    return;
  }
  bus.readers -= reads_no_more ? 1 : 0;
  bus.writers -= writes_no_more ? 1 : 0;
  port.rights = {.receive = port.rights.receive && !reads_no_more,
                 .send = port.rights.send && !writes_no_more};
  publish_change(bus, EventKind::bus_shutdown, port.opener.uid, text_of(port));
}

const Port* Buses::find_port(PortId id) const {
  const auto record = ports_.find(id);
  return record == ports_.end() ? nullptr : &record->second.port;
}

std::vector<Buses::BusEvent> Buses::take_events() { return std::exchange(events_, {}); }

void Buses::publish(const BusInfo& bus, EventKind kind, bool everywhere, uid_t uid,
                    std::string detail) {
  BusEvent event{.bus = bus.id, .everywhere = everywhere, .event = {}};
  event.event.kind = kind;
  event.event.object = path_of_bus(bus.name);
  event.event.uid = uid;
  event.event.detail = std::move(detail);
  events_.push_back(std::move(event));
}

// With the readers and writers there are now.
void Buses::publish_change(const BusInfo& bus, EventKind kind, uid_t uid, std::string detail,
                           std::string_view more) {
  detail += " readers=" + std::to_string(bus.readers) + " writers=" + std::to_string(bus.writers);
  publish(bus, kind, false, uid, detail.append(more));
}

std::string Buses::check_invariants() const {
  if (index_.size() != buses_.size()) {
    return "the index of buses is not the buses that exist";
  }
  std::size_t listed = 0;
  for (const auto& [id, record] : buses_) {
    const BusInfo& bus = record.info;
    std::uint64_t readers = 0;
    std::uint64_t writers = 0;
    for (const auto& [number, port_id] : bus.ports) {
      const Port* port = find_port(port_id);
      if (port == nullptr || port->bus != id || port->number != number) {
        return "a bus lists a port that is not its own: " + bus.name;
      }
      readers += port->rights.receive ? 1U : 0U;
      writers += port->rights.send ? 1U : 0U;
    }
    if (find(bus.name) != &bus || readers != bus.readers || writers != bus.writers ||
        record.places.taken() != bus.ports.size()) {
      return "the counts of a bus are not its ports: " + bus.name;
    }
    listed += bus.ports.size();
  }
  const bool charged = users_.total(Resource::buses) == buses_.size() &&
                       users_.total(Resource::ports) == ports_.size();
  return listed == ports_.size() && charged ? "" : "ports or charges that no bus explains";
}

}  // namespace flowfs::registry
