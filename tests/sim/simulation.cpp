// SPDX-License-Identifier: BSD-3-Clause
#include "simulation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace flowfs::registry::sim {

namespace {

// The state as a whole is compared every so many steps; effects and deadlines after each.
constexpr std::uint64_t kStepsPerComparison = 8;
constexpr std::array kCompared{Resource::names, Resource::flows, Resource::buses, Resource::ports};

}  // namespace

Simulation::Simulation(std::uint64_t seed, Options options, Coverage& coverage)
    : seed_(seed),
      options_(options),
      coverage_(coverage),
      world_(make_world(seed)),
      users_(world_.quotas),
      registry_(users_),
      buses_(users_),
      model_(world_.quotas) {
  if (options.lie) {
    model_.lie();
  }
}

Simulation::World Simulation::make_world(std::uint64_t seed) {
  Random random(seed, ~std::uint64_t{0});
  World world;
  const std::uint64_t names = random.one_in(3) ? random.between(1, 2) : random.between(3, 10);
  for (std::uint64_t index = 0; index < names; ++index) {
    world.texts.push_back(fmt::format("n{}", index));
  }
  world.uids.push_back(0);
  const std::uint64_t uids = random.between(2, 16);
  for (std::uint64_t index = 0; index < uids; ++index) {
    world.uids.push_back(static_cast<uid_t>(1000 + index));
  }
  world.pids = random.between(1, 4);
  world.most_backlog = random.pick(std::vector<std::uint64_t>{2, 12, 40});
  world.longest_timeout_us = random.pick(std::vector<std::uint64_t>{100, 5'000, 1'000'000});
  world.steps_per_phase = random.between(20, 200);
  const auto names_index = static_cast<std::size_t>(Resource::names);
  const auto flows_index = static_cast<std::size_t>(Resource::flows);
  world.quotas.per_uid[names_index] = random.between(1, names + 1);
  world.quotas.total[names_index] = random.between(1, names + 1);
  world.quotas.total[flows_index] = random.pick(std::vector<std::uint64_t>{20, 80, 300});
  world.quotas.per_uid[flows_index] = world.quotas.total[flows_index] / random.between(1, 8);
  const auto buses_index = static_cast<std::size_t>(Resource::buses);
  const auto ports_index = static_cast<std::size_t>(Resource::ports);
  world.most_ports = random.pick(std::vector<std::uint64_t>{2, 10, 40});
  world.quotas.per_uid[buses_index] = random.between(1, names + 1);
  world.quotas.total[buses_index] = random.between(1, names + 1);
  world.quotas.total[ports_index] = random.pick(std::vector<std::uint64_t>{10, 40, 100});
  world.quotas.per_uid[ports_index] = world.quotas.total[ports_index] / random.between(1, 4);
  return world;
}

std::string Simulation::step(std::uint64_t number) {
  Random random(seed_, number);
  operate(random, number);
  compare_effects();
  if (registry_.next_deadline() != model_.next_deadline()) {
    differ("the next deadline differs");
  }
  if (number % kStepsPerComparison == 0 && failure_.empty()) {
    compare_state();
  }
  for (const std::string& broken : {registry_.check_invariants(), buses_.check_invariants()}) {
    if (!broken.empty()) {
      differ("invariant: " + broken);
    }
  }
  return failure_;
}

std::string Simulation::finish() {
  compare_state();
  for (const FlowId flow : registry_.ends()) {
    registry_.release(flow);
    model_.release(flow);
  }
  std::vector<std::pair<std::string, bool>> entries;
  for (const Registry::Entry& entry : registry_.list()) {
    entries.emplace_back(entry.name, entry.is_alias);
  }
  for (const auto& [text, is_alias] : entries) {
    const Status removed =
        is_alias ? registry_.remove_alias(text, 0) : registry_.remove_name(text, 0);
    const int expected = is_alias ? model_.remove_alias(text, 0) : model_.remove_name(text, 0);
    if (!removed || expected != 0) {
      differ(fmt::format("{} could not be removed at the end", text));
    }
  }
  while (!model_.ports().empty()) {
    const PortId port = model_.ports().front().id;
    buses_.leave(port);
    model_.leave_bus(port, false);
  }
  while (!model_.buses().empty()) {
    const std::string text = model_.buses().front().name;
    if (!buses_.remove(text, 0) || model_.remove_bus(text, 0) != 0) {
      differ(fmt::format("bus {} could not be removed at the end", text));
      return failure_;
    }
  }
  compare_effects();
  compare_state();
  std::uint64_t left = registry_.end_count();
  for (const Resource resource : kCompared) {
    left += users_.total(resource);
  }
  if (left != 0) {
    differ("something is left at the end");
  }
  return failure_;
}

// Phases differ in what is likely, so that worlds fill up, run empty, starve servers or clients.
void Simulation::operate(Random& random, std::uint64_t number) {
  Random phase(~seed_, number / world_.steps_per_phase);
  const bool crowding = phase.one_in(4);  // clients come, and nobody serves them
  const std::uint64_t accepting = crowding ? 0 : phase.between(1, 30);
  const std::uint64_t dialling = crowding ? 60 : phase.between(1, 30);
  const std::uint64_t leaving = phase.between(1, 25);
  const std::uint64_t managing = phase.between(1, 6);
  const std::uint64_t timing = phase.between(1, 6);
  const std::uint64_t on_buses = phase.between(1, 15);
  std::uint64_t choice =
      random.below(accepting + dialling + leaving + managing + timing + on_buses);
  const auto chosen = [&choice](std::uint64_t weight) {
    const bool here = choice < weight;
    choice -= here ? 0 : weight;
    return here;
  };
  if (chosen(accepting)) {
    open_accept(random);
  } else if (chosen(dialling)) {
    open_dial(random);
  } else if (chosen(leaving)) {
    const std::uint64_t how = random.below(40);
    how == 0 ? die(random) : how < 8 ? close(random) : release(random);
  } else if (chosen(managing)) {
    manage(random);
  } else if (chosen(timing)) {
    pass_time(random);
  } else {
    use_buses(random, phase.between(1, 20));
  }
}

void Simulation::manage(Random& random) {
  switch (random.below(12)) {
    case 0:
    case 1:
    case 2:
      return create_name(random);
    case 3:
      return create_alias(random);
    case 4:
      return remove_name(random);
    case 5:
      return remove_alias(random);
    case 6:
      return rename(random);
    case 7:
      return exchange(random);
    case 8:
    case 9:
      return set_settings(random);
    case 10:
      return set_limit(random);
    default:
      return reconfigure(random);
  }
}

void Simulation::pass_time(Random& random) {
  if (random.one_in(2)) {
    tick(random);
  } else {
    wait(random);
  }
}

void Simulation::expect(Operation operation, int expected, int real, const std::string& arguments) {
  const std::string_view name = kOperationNames[static_cast<std::size_t>(operation)];
  if (options_.trace) {
    fmt::print("  {}({}) = {}\n", name, arguments, real);
    (void)std::fflush(stdout);  // before a broken invariant aborts
  }
  if (expected != real) {
    differ(fmt::format("{}({}) gave error {}, not {}", name, arguments, real, expected));
  }
  coverage_.count(operation, real);
}

void Simulation::compare_effects() {
  std::vector<std::string> real;
  for (const Effect& effect : registry_.take_effects()) {
    real.push_back(text_of(effect));
  }
  compare_texts(real, model_.take_effects());
  std::vector<std::string> events;
  for (const Buses::BusEvent& event : buses_.take_events()) {
    events.push_back(text_of(event));
  }
  compare_texts(events, model_.take_bus_events());
}

void Simulation::compare_texts(const std::vector<std::string>& real,
                               const std::vector<std::string>& expected) {
  if (options_.trace) {
    for (const std::string& effect : real) {
      fmt::print("    {}\n", effect);
    }
  }
  const auto [here, there] = std::ranges::mismatch(real, expected);
  if (here != real.end() || there != expected.end()) {
    differ(fmt::format("effect '{}', not '{}'", here == real.end() ? "none" : *here,
                       there == expected.end() ? "none" : *there));
  }
}

void Simulation::compare_state() {
  if (const std::string difference = model_.compare(registry_); !difference.empty()) {
    differ(difference);
  }
  if (const std::string difference = model_.compare(buses_); !difference.empty()) {
    differ(difference);
  }
  if (model_.saw_reused_id()) {
    differ("an id was given out twice");
  }
  for (const Resource resource : kCompared) {
    for (const uid_t uid : world_.uids) {
      if (users_.used(uid, resource) != model_.used(uid, resource)) {
        differ(fmt::format("{} of uid {}: {}, not {}", to_string(resource), uid,
                           users_.used(uid, resource), model_.used(uid, resource)));
      }
    }
    if (users_.total(resource) != model_.total(resource)) {
      differ(fmt::format("total of {}", to_string(resource)));
    }
  }
  coverage_.most_ends = std::max(coverage_.most_ends.load(), registry_.end_count());
}

// The first difference explains the others.
void Simulation::differ(const std::string& difference) {
  if (failure_.empty()) {
    failure_ = difference;
  }
}

}  // namespace flowfs::registry::sim
