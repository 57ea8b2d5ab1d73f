// SPDX-License-Identifier: BSD-3-Clause
// Names and aliases: create, remove, rename, exchange, settings.
#include <algorithm>
#include <utility>

#include "registry/flow_state.hpp"
#include "registry/paths.hpp"
#include "registry/registry.hpp"

namespace flowfs::registry {

namespace {

constexpr std::size_t kLongestName = 255;
constexpr std::size_t kLongestTarget = 4095;

// Not <cctype>: what is a letter must not depend on the locale.
constexpr bool is_name_character(char character) {
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
         (character >= '0' && character <= '9') || character == '.' || character == '_' ||
         character == ':' || character == '@' || character == '-';
}

}  // namespace

bool Registry::valid_name(std::string_view name) {
  return !name.empty() && name.size() <= kLongestName && name.front() != '.' &&
         std::ranges::all_of(name, is_name_character);
}

Status check_new_name(std::string_view name) {
  if (name.size() > kLongestName) {
    return fail(ENAMETOOLONG, "name");
  }
  if (!Registry::valid_name(name)) {
    return fail(EINVAL, "name");
  }
  return {};
}

Result<NameId> Registry::create_name(std::string_view name, Opener who,
                                     const NameSettings& settings) {
  return add_name(name, who.uid, who.uid, settings);
}

Result<NameId> Registry::declare_name(std::string_view name, uid_t owner,
                                      const NameSettings& settings) {
  return add_name(name, owner, 0, settings);
}

Result<NameId> Registry::add_name(std::string_view name, uid_t owner, uid_t payer,
                                  const NameSettings& settings) {
  if (const Status valid = check_new_name(name); !valid) {
    return std::unexpected(valid.error());
  }
  if (index_.contains(name)) {
    return fail(EEXIST, "name");
  }
  Result<Charge> charge = users_.charge(payer, Resource::names, 1);
  if (!charge) {
    return std::unexpected(charge.error());
  }
  const NameId id{next_name_++};
  NameRecord record{.name = {id, std::string(name), owner, settings, {}},
                    .servers = {},
                    .clients = WaitingClients(owner, settings.backlog),
                    .charge = std::move(*charge)};
  record.servers.set_balance(settings.balance);
  names_.emplace(id, std::move(record));
  index_.emplace(name, id);
  publish(EventKind::name_created, path_of_name(name), owner);
  return id;
}

Result<NameId> Registry::create_alias(std::string_view name, std::string_view target, Opener who) {
  if (const Status valid = check_new_name(name); !valid) {
    return std::unexpected(valid.error());
  }
  if (target.empty()) {
    return fail(EINVAL, "alias target");
  }
  if (target.size() > kLongestTarget) {
    return fail(ENAMETOOLONG, "alias target");
  }
  if (index_.contains(name)) {
    return fail(EEXIST, "alias");
  }
  Result<Charge> charge = users_.charge(who.uid, Resource::names, 1);
  if (!charge) {
    return std::unexpected(charge.error());
  }
  const NameId id{next_name_++};
  aliases_.emplace(
      id, AliasRecord{{id, std::string(name), std::string(target), who.uid}, std::move(*charge)});
  index_.emplace(name, id);
  // The target may hold any byte, line feeds too, so an event does not carry it.
  publish(EventKind::alias_created, path_of_name(name), who.uid);
  return id;
}

Status Registry::remove_name(std::string_view name, uid_t by) {
  const auto entry = index_.find(name);
  if (entry == index_.end()) {
    return fail(ENOENT, "name");
  }
  const auto found = names_.find(entry->second);
  if (found == names_.end()) {
    return fail(ENOTDIR, "alias");
  }
  NameRecord& record = found->second;
  if (!record.servers.empty() || record.name.stats.flows_now > 0) {
    return fail(EBUSY, "name");
  }
  for (const FlowId flow : record.clients.drain()) {
    fail_waiting(ends_.at(flow).end, ENOENT);
  }
  publish(EventKind::name_removed, path_of_name(name), by);
  names_.erase(found);
  index_.erase(entry);
  return {};
}

Status Registry::remove_alias(std::string_view name, uid_t by) {
  const auto entry = index_.find(name);
  if (entry == index_.end()) {
    return fail(ENOENT, "alias");
  }
  if (!aliases_.contains(entry->second)) {
    return fail(EISDIR, "name");
  }
  publish(EventKind::alias_removed, path_of_name(entry->first), by);
  aliases_.erase(entry->second);
  index_.erase(entry);
  return {};
}

Status Registry::rename(std::string_view from, std::string_view to, bool no_replace, uid_t by) {
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
  const NameId id = source->second;
  const auto [target, is_new] = index_.try_emplace(std::string(to), id);
  if (!is_new) {
    const bool both_aliases = aliases_.contains(id) && aliases_.contains(target->second);
    if (no_replace || !both_aliases) {
      return fail(EEXIST, "rename");
    }
    publish(EventKind::alias_removed, path_of_name(target->first), by);
    aliases_.erase(target->second);
    target->second = id;
  }
  publish(EventKind::name_renamed, path_of_name(source->first), by, "to=" + target->first);
  index_.erase(source);
  set_text(id, target->first);
  return {};
}

Status Registry::exchange(std::string_view one, std::string_view two, uid_t by) {
  const auto first = index_.find(one);
  const auto second = index_.find(two);
  if (first == index_.end() || second == index_.end()) {
    return fail(ENOENT, "exchange");
  }
  if (first == second) {
    return {};
  }
  std::swap(first->second, second->second);
  // From the index: the arguments may look into the very texts that change.
  set_text(first->second, first->first);
  set_text(second->second, second->first);
  publish(EventKind::name_renamed, path_of_name(first->first), by, "exchanged=" + second->first);
  return {};
}

void Registry::set_text(NameId id, std::string_view text) {
  if (const auto record = names_.find(id); record != names_.end()) {
    record->second.name.name = text;
  } else {
    aliases_.at(id).alias.name = text;
  }
}

void Registry::set_settings(NameId id, const NameSettings& settings) {
  NameRecord& record = record_of(id);
  record.name.settings = settings;
  record.servers.set_balance(settings.balance);
  record.clients.set_capacity(settings.backlog);
}

NameStats& Registry::stats(NameId id) { return record_of(id).name.stats; }

}  // namespace flowfs::registry
