// SPDX-License-Identifier: BSD-3-Clause
#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "model.hpp"

namespace flowfs::registry::sim {

namespace {

bool alive(const End& end) {
  return end.state == FlowState::allocated || end.state == FlowState::dealloc_pending;
}

bool waits(const End& end) { return end.state == FlowState::alloc_pending; }

auto number(auto id) { return std::to_underlying(id); }

bool same(const End& one, const End& two) {
  const auto key = [](const End& end) {
    return std::tuple(end.id, end.name, end.side, end.state, end.opener.uid, end.opener.gid,
                      end.opener.pid, end.rights.receive, end.rights.send, end.peer, end.error,
                      end.deadline);
  };
  return key(one) == key(two);
}

}  // namespace

// --- the whole state
// -------------------------------------------------------------------------------

std::uint64_t Model::flows_now(NameId id) const {
  std::set<std::pair<FlowId, FlowId>> pairs;
  for (const EndModel& end : ends_) {
    if (end.end.name == id && alive(end.end)) {
      pairs.insert(std::minmax(end.end.id, end.end.peer));
    }
  }
  return pairs.size();
}

Registry::Waiting Model::waiting(NameId id) const {
  Registry::Waiting here;
  for (const EndModel& end : ends_) {
    if (end.end.name == id) {
      here.servers += end.end.state == FlowState::accept_pending ? 1 : 0;
      here.backlog += waits(end.end) && end.place.admitted ? 1 : 0;
      here.overflow += waits(end.end) && !end.place.admitted ? 1 : 0;
    }
  }
  return here;
}

std::string Model::compare(const Registry& registry) const {
  std::string difference = compare_names(registry);
  return difference.empty() ? compare_ends(registry) : difference;
}

std::string Model::compare_names(const Registry& registry) const {
  std::map<std::string, std::pair<NameId, bool>> expected;
  for (const NameModel& name : names_) {
    expected[name.name.name] = {name.name.id, false};
  }
  for (const Alias& alias : aliases_) {
    expected[alias.name] = {alias.id, true};
    const Alias* found = registry.find_alias(alias.name);
    if (found == nullptr || found->target != alias.target || found->owner != alias.owner) {
      return fmt::format("alias {} differs", alias.name);
    }
  }
  std::map<std::string, std::pair<NameId, bool>> listed;
  for (const Registry::Entry& entry : registry.list()) {
    listed[std::string(entry.name)] = {entry.id, entry.is_alias};
  }
  if (listed != expected) {
    return "the list of names differs";
  }
  for (const NameModel& name : names_) {
    const Name* found = registry.find_name(name.name.name);
    const NameStats& stats = found->stats;
    const Registry::Waiting real = registry.waiting(found->id);
    const Registry::Waiting here = waiting(found->id);
    if (found->owner != name.name.owner || stats.flows_now != flows_now(found->id) ||
        stats.flows_ever != name.name.stats.flows_ever ||
        stats.refused != name.name.stats.refused || stats.timed_out != name.name.stats.timed_out) {
      return fmt::format("owner or stats of name {} differ", name.name.name);
    }
    if (real.servers != here.servers || real.backlog != here.backlog ||
        real.overflow != here.overflow) {
      return fmt::format("name {}: {} servers, {} in backlog and {} in overflow, not {}, {}, {}",
                         name.name.name, real.servers, real.backlog, real.overflow, here.servers,
                         here.backlog, here.overflow);
    }
  }
  return "";
}

std::string Model::compare_ends(const Registry& registry) const {
  std::vector<FlowId> expected;
  for (const EndModel& end : ends_) {
    expected.push_back(end.end.id);
    const End* found = registry.find_end(end.end.id);
    if (found == nullptr || !same(*found, end.end)) {
      return fmt::format("end {} differs: {}, not {}", number(end.end.id),
                         found == nullptr ? "gone" : to_string(found->state),
                         to_string(end.end.state));
    }
  }
  std::ranges::sort(expected);
  return registry.ends() == expected ? "" : "the list of ends differs";
}

}  // namespace flowfs::registry::sim
