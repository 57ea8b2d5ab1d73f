// SPDX-License-Identifier: BSD-3-Clause
// What the registry tells others: look-ups, deadlines, effects.
#include "registry/registry.hpp"

#include <algorithm>
#include <utility>

namespace flowfs::registry {

const Name* Registry::find_name(std::string_view name) const {
  const auto entry = index_.find(name);
  return entry == index_.end() ? nullptr : find_name(entry->second);
}

const Name* Registry::find_name(NameId id) const {
  const auto record = names_.find(id);
  return record == names_.end() ? nullptr : &record->second.name;
}

const Alias* Registry::find_alias(std::string_view name) const {
  const auto entry = index_.find(name);
  return entry == index_.end() ? nullptr : find_alias(entry->second);
}

const Alias* Registry::find_alias(NameId id) const {
  const auto record = aliases_.find(id);
  return record == aliases_.end() ? nullptr : &record->second.alias;
}

std::vector<Registry::Entry> Registry::list() const {
  std::vector<Entry> entries;
  entries.reserve(index_.size());
  for (const auto& [text, id] : index_) {
    entries.push_back({text, id, aliases_.contains(id)});
  }
  return entries;
}

Registry::Waiting Registry::waiting(NameId id) const {
  const auto entry = names_.find(id);
  if (entry == names_.end()) {
    return {};
  }
  const NameRecord& record = entry->second;
  return {record.servers.size(), record.clients.in_backlog(), record.clients.in_overflow()};
}

const End* Registry::find_end(FlowId flow) const {
  const auto record = ends_.find(flow);
  return record == ends_.end() ? nullptr : &record->second.end;
}

std::optional<Registry::Entry> Registry::entry_from(NameId first) const {
  const auto name = names_.lower_bound(first);
  const auto alias = aliases_.lower_bound(first);
  if (alias != aliases_.end() && (name == names_.end() || alias->first < name->first)) {
    return Entry{alias->second.alias.name, alias->first, true};
  }
  if (name == names_.end()) {
    return std::nullopt;
  }
  return Entry{name->second.name.name, name->first, false};
}

std::vector<FlowId> Registry::ends() const {
  std::vector<FlowId> flows;
  flows.reserve(ends_.size());
  for (const auto& [flow, record] : ends_) {
    flows.push_back(flow);
  }
  return flows;
}

std::optional<FlowId> Registry::end_from(FlowId first) const {
  const auto end = ends_.lower_bound(first);
  return end == ends_.end() ? std::nullopt : std::optional(end->first);
}

std::size_t Registry::end_count() const { return ends_.size(); }

Instant Registry::next_deadline() const {
  return deadlines_.empty() ? kNever : deadlines_.begin()->first;
}

std::vector<Effect> Registry::take_effects() { return std::exchange(effects_, {}); }

bool Registry::has_effects() const { return !effects_.empty(); }

void Registry::publish(EventKind kind, std::string object, uid_t uid, std::string detail) {
  Effect effect{.kind = Effect::Kind::event, .event = {}};
  effect.event.kind = kind;
  effect.event.object = std::move(object);
  effect.event.uid = uid;
  effect.event.detail = std::move(detail);
  effects_.push_back(std::move(effect));
}

}  // namespace flowfs::registry
