// SPDX-License-Identifier: BSD-3-Clause
// Each operation with random arguments, most of them sensible, on the registry and on the model.
#include <fmt/format.h>

#include <utility>

#include "simulation.hpp"

namespace flowfs::registry::sim {

namespace {

std::string text_of(Opener who) { return fmt::format("uid {} pid {}", who.uid, who.pid); }

}  // namespace

// --- arguments
// -------------------------------------------------------------------------------------

std::string Simulation::some_text(Random& random) {
  if (random.one_in(24)) {
    return random.pick(
        std::vector<std::string>{"", ".hidden", "a b", "a/b", std::string(256, 'x'), "\xC3\xA9"});
  }
  return random.pick(world_.texts);
}

Opener Simulation::some_opener(Random& random) {
  const uid_t uid = random.pick(world_.uids);
  return {uid, uid, static_cast<pid_t>(random.between(1, world_.pids))};
}

NameId Simulation::some_name(Random& random) {
  if (model_.names().empty() || random.one_in(50)) {
    return NameId{random.below(50)};  // an alias, something removed, or nothing yet
  }
  return random.pick(model_.names()).name.id;
}

FlowId Simulation::some_flow(Random& random) {
  if (model_.ends().empty() || random.one_in(30)) {
    return FlowId{random.below(50)};
  }
  return random.pick(model_.ends()).end.id;
}

NameSettings Simulation::some_settings(Random& random) {
  NameSettings settings;
  settings.backlog = random.one_in(12) ? kUnlimited : random.below(world_.most_backlog + 1);
  settings.balance = static_cast<Balance>(random.below(3));
  settings.dial_timeout_us = random.between(1, world_.longest_timeout_us);
  if (random.one_in(6)) {
    settings.dial_timeout_us = random.one_in(2) ? 0 : kUnlimited;
  }
  return settings;
}

Rights Simulation::some_rights(Random& random) {
  const std::uint64_t mode = random.below(3);
  return {.receive = mode != 1, .send = mode != 0};
}

// --- names
// -----------------------------------------------------------------------------------------

void Simulation::create_name(Random& random) {
  const std::string text = some_text(random);
  const Opener who = some_opener(random);
  const NameSettings settings = some_settings(random);
  const Result<NameId> real = registry_.create_name(text, who, settings);
  const int expected = model_.create_name(text, who, settings, real.value_or(NameId{}));
  expect(Operation::create_name, expected, error_of(real),
         fmt::format("'{}', {}, backlog {}, timeout {}, {}", text, text_of(who), settings.backlog,
                     settings.dial_timeout_us, to_string(settings.balance)));
}

void Simulation::create_alias(Random& random) {
  const std::string text = some_text(random);
  std::string target = random.pick(world_.texts);
  if (random.one_in(10)) {
    target = random.one_in(2) ? "" : std::string(4096, 'x');
  }
  const Opener who = some_opener(random);
  const Result<NameId> real = registry_.create_alias(text, target, who);
  const int expected = model_.create_alias(text, target, who, real.value_or(NameId{}));
  expect(Operation::create_alias, expected, error_of(real),
         fmt::format("'{}', target of {} bytes, {}", text, target.size(), text_of(who)));
}

void Simulation::remove_name(Random& random) {
  const std::string text = some_text(random);
  const uid_t by = random.pick(world_.uids);
  const int real = error_of(registry_.remove_name(text, by));
  expect(Operation::remove_name, model_.remove_name(text, by), real, fmt::format("'{}'", text));
}

void Simulation::remove_alias(Random& random) {
  const std::string text = some_text(random);
  const uid_t by = random.pick(world_.uids);
  const int real = error_of(registry_.remove_alias(text, by));
  expect(Operation::remove_alias, model_.remove_alias(text, by), real, fmt::format("'{}'", text));
}

void Simulation::rename(Random& random) {
  const std::string from = some_text(random);
  const std::string to = some_text(random);
  const bool no_replace = random.one_in(2);
  const uid_t by = random.pick(world_.uids);
  const int real = error_of(registry_.rename(from, to, no_replace, by));
  expect(Operation::rename, model_.rename(from, to, no_replace, by), real,
         fmt::format("'{}', '{}', no_replace {}", from, to, no_replace));
}

void Simulation::exchange(Random& random) {
  const std::string one = some_text(random);
  const std::string two = some_text(random);
  const uid_t by = random.pick(world_.uids);
  const int real = error_of(registry_.exchange(one, two, by));
  expect(Operation::exchange, model_.exchange(one, two, by), real,
         fmt::format("'{}', '{}'", one, two));
}

void Simulation::set_settings(Random& random) {
  if (model_.names().empty()) {
    return;
  }
  const NameId id = random.pick(model_.names()).name.id;
  const NameSettings settings = some_settings(random);
  registry_.set_settings(id, settings);
  model_.set_settings(id, settings);
  expect(Operation::set_settings, 0, 0,
         fmt::format("name {}, backlog {}, timeout {}, {}", std::to_underlying(id),
                     settings.backlog, settings.dial_timeout_us, to_string(settings.balance)));
}

// --- quotas
// ----------------------------------------------------------------------------------------

void Simulation::set_limit(Random& random) {
  const uid_t uid = random.pick(world_.uids);
  const Resource resource = random.pick(
      std::vector<Resource>{Resource::names, Resource::flows, Resource::buses, Resource::ports});
  const std::uint64_t limit = random.one_in(4) ? kUnlimited : random.below(40);
  users_.set_limit(uid, resource, limit);
  model_.set_limit(uid, resource, limit);
  expect(Operation::set_limit, 0, 0, fmt::format("{}, {}, {}", uid, to_string(resource), limit));
}

void Simulation::reconfigure(Random& random) {
  Users::Config quotas = world_.quotas;
  for (const Resource resource :
       {Resource::names, Resource::flows, Resource::buses, Resource::ports}) {
    const auto index = static_cast<std::size_t>(resource);
    quotas.total[index] = quotas.total[index] * random.between(1, 3) / 2;
    quotas.per_uid[index] = quotas.per_uid[index] * random.between(1, 3) / 2;
  }
  users_.reconfigure(quotas);
  model_.reconfigure(quotas);
  expect(Operation::reconfigure, 0, 0, "");
}

// --- ends
// ------------------------------------------------------------------------------------------

void Simulation::open_accept(Random& random) {
  const NameId id = some_name(random);
  const Opener who = some_opener(random);
  const Rights rights = some_rights(random);
  const Result<FlowId> real = registry_.open_accept(id, who, rights, now_);
  const int expected = model_.open_accept(id, who, rights, real.value_or(kNoFlow));
  expect(Operation::open_accept, expected, error_of(real),
         fmt::format("name {}, {}: end {}", std::to_underlying(id), text_of(who),
                     std::to_underlying(real.value_or(kNoFlow))));
}

void Simulation::open_dial(Random& random) {
  const NameId id = some_name(random);
  const Opener who = some_opener(random);
  const Rights rights = some_rights(random);
  const bool nonblock = random.one_in(3);
  const Result<FlowId> real = registry_.open_dial(id, who, rights, nonblock, now_);
  const int expected = model_.open_dial(id, who, rights, nonblock, now_, real.value_or(kNoFlow));
  expect(Operation::open_dial, expected, error_of(real),
         fmt::format("name {}, {}, nonblock {}: end {}", std::to_underlying(id), text_of(who),
                     nonblock, std::to_underlying(real.value_or(kNoFlow))));
}

void Simulation::release(Random& random) {
  const FlowId flow = some_flow(random);
  registry_.release(flow);
  model_.release(flow);
  expect(Operation::release, 0, 0, fmt::format("end {}", std::to_underlying(flow)));
}

void Simulation::close(Random& random) {
  const FlowId flow = some_flow(random);
  const int error = random.one_in(2) ? ECONNABORTED : 0;
  registry_.close(flow, error);
  model_.close(flow, error);
  expect(Operation::close, 0, 0, fmt::format("end {}, {}", std::to_underlying(flow), error));
}

// The kernel closes all that a dead process had open, in any order.
void Simulation::die(Random& random) {
  const Opener who = some_opener(random);
  std::vector<FlowId> flows;
  for (const Model::EndModel& end : model_.ends()) {
    if (end.end.opener.uid == who.uid && end.end.opener.pid == who.pid) {
      flows.insert(flows.begin() + static_cast<std::ptrdiff_t>(random.below(flows.size() + 1)),
                   end.end.id);
    }
  }
  for (const FlowId flow : flows) {
    registry_.release(flow);
    model_.release(flow);
  }
  expect(Operation::death, 0, 0, fmt::format("{}: {} ends", text_of(who), flows.size()));
}

// --- time
// ------------------------------------------------------------------------------------------

void Simulation::tick(Random& random) {
  const Instant next = model_.next_deadline();
  if (next != kNever && next > now_ && random.one_in(2)) {
    now_ = random.one_in(2) ? next : next - Micros(1);  // on the edge
  } else {
    now_ += Micros(random.below(world_.longest_timeout_us / 4));
  }
  registry_.tick(now_);
  model_.tick(now_);
  expect(Operation::tick, 0, 0, fmt::format("{} us", now_.time_since_epoch() / Micros(1)));
}

// Time that passes before anybody looks.
void Simulation::wait(Random& random) {
  now_ += Micros(random.below(world_.longest_timeout_us / 4));
  expect(Operation::wait, 0, 0, fmt::format("{} us", now_.time_since_epoch() / Micros(1)));
}

}  // namespace flowfs::registry::sim
