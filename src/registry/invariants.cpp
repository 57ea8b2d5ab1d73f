// SPDX-License-Identifier: BSD-3-Clause
// The registry's invariants, as registry.hpp numbers them. Slow: for tests and the simulator.
#include <map>
#include <string>
#include <utility>

#include "registry/flow_state.hpp"
#include "registry/paths.hpp"
#include "registry/registry.hpp"

namespace flowfs::registry {

namespace {

bool is_waiting(const End& end) {
  return end.state == FlowState::alloc_pending || end.state == FlowState::accept_pending;
}

}  // namespace

std::string Registry::check_invariants() const {
  if (std::string broken = check_namespace(); !broken.empty()) {
    return broken;
  }
  for (const auto& [id, record] : names_) {
    if (std::string broken = check_name(record); !broken.empty()) {
      return path_of_name(record.name.name) + ": " + broken;
    }
  }
  for (const auto& [flow, record] : ends_) {
    if (record.end.id != flow) {
      return path_of_flow(flow) + ": an end is filed under the id of another";
    }
    if (std::string broken = check_end(record.end); !broken.empty()) {
      return path_of_flow(flow) + ": " + broken;
    }
  }
  if (std::string broken = check_counts(); !broken.empty()) {
    return broken;
  }
  return check_charges();
}

// 7
std::string Registry::check_namespace() const {
  if (index_.size() != names_.size() + aliases_.size()) {
    return "the index of names is not the names and aliases that exist";
  }
  for (const auto& [text, id] : index_) {
    const Name* name = find_name(id);
    const Alias* alias = find_alias(id);
    if ((name == nullptr) == (alias == nullptr)) {
      return "an entry of the index is not exactly one of name and alias: " + text;
    }
    if ((name != nullptr ? name->name : alias->name) != text || !valid_name(text)) {
      return "a name is filed under another text: " + text;
    }
    if (std::to_underlying(id) >= next_name_) {
      return "the id of a name has not been given out: " + text;
    }
  }
  return "";
}

// 2 and 4; the orders within a queue are its own invariants
std::string Registry::check_name(const NameRecord& record) const {
  if (!record.servers.empty() && !record.clients.empty()) {
    return "a server and a client both wait";
  }
  if (std::string broken = record.servers.check_invariants(); !broken.empty()) {
    return broken;
  }
  return record.clients.check_invariants();
}

// 1
std::string Registry::check_end(const End& end) const {
  if (std::to_underlying(end.id) >= next_flow_) {
    return "the id of an end has not been given out";
  }
  const End* peer = find_end(end.peer);
  if (end.state == FlowState::allocated &&
      (peer == nullptr || peer->state != FlowState::allocated || peer->peer != end.id ||
       peer->name != end.name || peer->side != other(end.side))) {
    return "an allocated end has no peer of the other side";
  }
  if (end.state == FlowState::dealloc_pending && peer != nullptr &&
      peer->state != FlowState::deallocated) {
    return "an end thinks that its living peer is gone";
  }
  if (end.state != FlowState::deallocated && !names_.contains(end.name)) {
    return "an end has no name";
  }
  return check_waiting(end);
}

// 3 and the half of 5 that speaks of the end
std::string Registry::check_waiting(const End& end) const {
  const bool is_timed = end.deadline != kNever && deadlines_.contains({end.deadline, end.id});
  if (end.deadline != kNever && (end.state != FlowState::alloc_pending || !is_timed)) {
    return "an end's deadline is not among the deadlines";
  }
  if (!is_waiting(end)) {
    return "";
  }
  const NameRecord& record = names_.at(end.name);
  if (end.state == FlowState::alloc_pending) {
    const bool queued = record.clients.contains(end.id, end.opener.uid);
    return queued && end.side == Side::client ? "" : "a waiting client is in no queue";
  }
  const bool queued = record.servers.contains(end.id, {end.opener.uid, end.opener.pid});
  return queued && end.side == Side::server ? "" : "a waiting server is in no queue";
}

// The other halves: that no queue and no counter holds more than the ends explain. 3, 5, 8
std::string Registry::check_counts() const {
  struct Seen {
    std::size_t servers = 0;
    std::size_t clients = 0;
    std::uint64_t whole_flows_twice = 0;
    std::uint64_t half_flows = 0;
    std::map<ServerProcess, std::uint64_t> live;
  };
  std::map<NameId, Seen> seen;
  std::size_t timed = 0;
  for (const auto& [flow, record] : ends_) {
    const End& end = record.end;
    Seen& here = seen[end.name];
    here.servers += end.state == FlowState::accept_pending ? 1 : 0;
    here.clients += end.state == FlowState::alloc_pending ? 1 : 0;
    here.whole_flows_twice += end.state == FlowState::allocated ? 1 : 0;
    here.half_flows += end.state == FlowState::dealloc_pending ? 1 : 0;
    if (is_alive(end.state) && end.side == Side::server) {
      ++here.live[{end.opener.uid, end.opener.pid}];
    }
    timed += end.deadline != kNever ? 1 : 0;
  }
  if (timed != deadlines_.size()) {
    return "a deadline belongs to no waiting client";
  }
  for (const auto& [id, record] : names_) {
    const Seen& here = seen[id];
    const std::string path = path_of_name(record.name.name);
    if (here.servers != record.servers.size() ||
        here.clients != record.clients.in_backlog() + record.clients.in_overflow()) {
      return path + ": a queue holds ends that do not wait";
    }
    if (here.whole_flows_twice / 2 + here.half_flows != record.name.stats.flows_now) {
      return path + ": flows_now is not the number of flows";
    }
    for (const auto& [process, flows] : here.live) {
      if (record.servers.live_flows(process) != flows) {
        return path + ": the load of a server is not the number of its flows";
      }
    }
  }
  return "";
}

// 6
std::string Registry::check_charges() const {
  std::map<uid_t, std::uint64_t> names;
  std::map<uid_t, std::uint64_t> flows;
  for (const auto& [id, record] : names_) {
    ++names[record.charge.uid()];
  }
  for (const auto& [id, record] : aliases_) {
    ++names[record.charge.uid()];
  }
  for (const auto& [id, record] : ends_) {
    ++flows[record.end.opener.uid];
  }
  for (const uid_t uid : users_.known()) {
    if (users_.used(uid, Resource::names) != names[uid] ||
        users_.used(uid, Resource::flows) != flows[uid]) {
      return "the charges of a uid are not what it has: " + std::to_string(uid);
    }
  }
  const bool complete = users_.total(Resource::names) == names_.size() + aliases_.size() &&
                        users_.total(Resource::flows) == ends_.size();
  return complete ? "" : "the daemon's totals are not what exists";
}

}  // namespace flowfs::registry
