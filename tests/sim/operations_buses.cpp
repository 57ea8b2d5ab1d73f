// SPDX-License-Identifier: BSD-3-Clause
// The same for buses.
#include <fmt/format.h>

#include <utility>

#include "simulation.hpp"

namespace flowfs::registry::sim {

namespace {

std::string text_of(const BusSettings& settings) {
  return fmt::format("{}, {} ports, {} writers", to_string(settings.policy), settings.ports,
                     settings.writers);
}

}  // namespace

BusSettings Simulation::some_bus_settings(Random& random) {
  BusSettings settings;
  settings.policy = static_cast<BusPolicy>(random.below(8) < 6 ? 0 : random.below(3));
  settings.ports = random.between(1, world_.most_ports);
  settings.writers = random.one_in(2) ? kUnlimited : random.between(1, 4);
  settings.history = random.below(3);
  return settings;
}

void Simulation::create_bus(Random& random) {
  const std::string text = some_text(random);
  const Opener who = some_opener(random);
  const bool declared = random.one_in(8);
  const BusSettings settings = some_bus_settings(random);
  const Result<BusId> real =
      declared ? buses_.declare(text, who.uid, settings) : buses_.create(text, who, settings);
  const int expected =
      model_.create_bus(text, who.uid, declared ? 0 : who.uid, settings, real.value_or(BusId{}));
  expect(Operation::create_bus, expected, error_of(real),
         fmt::format("'{}', uid {}, declared {}, {}", text, who.uid, declared, text_of(settings)));
}

void Simulation::remove_bus(Random& random) {
  const std::string text = some_text(random);
  const uid_t by = random.pick(world_.uids);
  const int real = error_of(buses_.remove(text, by));
  expect(Operation::remove_bus, model_.remove_bus(text, by), real, fmt::format("'{}'", text));
}

void Simulation::rename_bus(Random& random) {
  const std::string from = some_text(random);
  const std::string to = some_text(random);
  const uid_t by = random.pick(world_.uids);
  const int real = error_of(buses_.rename(from, to, by));
  expect(Operation::rename_bus, model_.rename_bus(from, to, by), real,
         fmt::format("'{}', '{}'", from, to));
}

void Simulation::exchange_buses(Random& random) {
  const std::string one = some_text(random);
  const std::string two = some_text(random);
  const uid_t by = random.pick(world_.uids);
  const int real = error_of(buses_.exchange(one, two, by));
  expect(Operation::exchange_buses, model_.exchange_buses(one, two, by), real,
         fmt::format("'{}', '{}'", one, two));
}

void Simulation::set_bus(Random& random) {
  if (model_.buses().empty()) {
    return;
  }
  const BusId id = random.pick(model_.buses()).id;
  const uid_t by = random.pick(world_.uids);
  const BusSettings settings = some_bus_settings(random);
  const int real = error_of(buses_.set_settings(id, settings, by));
  expect(Operation::set_bus, model_.set_bus(id, settings, by), real,
         fmt::format("bus {}, {}", std::to_underlying(id), text_of(settings)));
}

void Simulation::join_bus(Random& random) {
  if (model_.buses().empty()) {
    return;
  }
  const BusId id = random.pick(model_.buses()).id;
  const Opener who = some_opener(random);
  const Rights rights = some_rights(random);
  const Result<PortId> real = buses_.join(id, who, rights, now_);
  const int expected = model_.join(id, who, rights, real.value_or(PortId{}));
  expect(
      Operation::join_bus, expected, error_of(real),
      fmt::format("bus {}, uid {}, receives {}, sends {}: port {}", std::to_underlying(id), who.uid,
                  rights.receive, rights.send, std::to_underlying(real.value_or(PortId{}))));
}

void Simulation::leave_bus(Random& random) {
  const bool known = !model_.ports().empty() && !random.one_in(30);
  const PortId id = known ? random.pick(model_.ports()).id : PortId{random.below(50)};
  const bool evicted = random.one_in(4);
  buses_.leave(id, evicted);
  model_.leave_bus(id, evicted);
  expect(Operation::leave_bus, 0, 0, fmt::format("port {}", std::to_underlying(id)));
}

// A port keeps a direction: without any it would have left.
void Simulation::shut_down(Random& random) {
  if (model_.ports().empty()) {
    return;
  }
  const Port& port = random.pick(model_.ports());
  const PortId id = port.id;
  const bool both = port.rights.receive && port.rights.send;
  const bool receive = both ? random.one_in(2) : !port.rights.receive;
  const Rights rights{.receive = receive, .send = !receive};
  buses_.shut_down(id, rights);
  model_.shut_down(id, rights);
  expect(Operation::shut_down, 0, 0,
         fmt::format("port {}, {}", std::to_underlying(id), receive ? "read" : "write"));
}

void Simulation::use_buses(Random& random, std::uint64_t leaving) {
  switch (random.below(20 + leaving)) {
    case 0:
    case 1:
    case 2:
      return create_bus(random);
    case 3:
      return remove_bus(random);
    case 4:
      return rename_bus(random);
    case 5:
      return exchange_buses(random);
    case 6:
    case 7:
      return set_bus(random);
    case 8:
    case 9:
      return shut_down(random);
    case 10:
    case 11:
    case 12:
    case 13:
    case 14:
    case 15:
    case 16:
    case 17:
    case 18:
    case 19:
      return join_bus(random);
    default:
      return leave_bus(random);
  }
}

}  // namespace flowfs::registry::sim
