// SPDX-License-Identifier: BSD-3-Clause
#include "registry/waiting_clients.hpp"

#include <algorithm>

#include "base/result.hpp"

namespace flowfs::registry {

void WaitingClients::set_capacity(std::uint64_t capacity) {
  capacity_ = capacity;
  admit_eligible();
}

bool WaitingClients::has_place(uid_t uid) const {
  return allowance_.may_take(owner_, uid, capacity_);
}

void WaitingClients::add(FlowId flow, uid_t uid) {
  if (has_place(uid)) {
    admit(flow, uid);
  } else {
    add_to_overflow(flow, uid);
  }
}

void WaitingClients::remove(FlowId flow, uid_t uid) {
  if (const auto ticket = tickets_.find(flow); ticket != tickets_.end()) {
    backlog_.erase(ticket->second);
    tickets_.erase(ticket);
    allowance_.give_back(uid);
    admit_eligible();
    return;
  }
  FLOWFS_CHECK(remove_from_overflow(flow, uid));
}

FlowId WaitingClients::next() const {
  FLOWFS_CHECK(!empty());
  return backlog_.empty() ? fronts_.begin()->first : backlog_.begin()->second.flow;
}

std::vector<FlowId> WaitingClients::drain() {
  std::vector<FlowId> flows;
  flows.reserve(backlog_.size() + overflow_size_);
  for (const auto& [ticket, admitted] : backlog_) {
    flows.push_back(admitted.flow);
    allowance_.give_back(admitted.uid);
  }
  const auto oldest_of_overflow = static_cast<std::ptrdiff_t>(flows.size());
  for (const auto& [uid, waiting] : overflow_) {
    flows.insert(flows.end(), waiting.begin(), waiting.end());
  }
  std::ranges::sort(flows.begin() + oldest_of_overflow, flows.end());
  backlog_.clear();
  tickets_.clear();
  overflow_.clear();
  fronts_.clear();
  overflow_size_ = 0;
  return flows;
}

bool WaitingClients::contains(FlowId flow, uid_t uid) const {
  if (tickets_.contains(flow)) {
    return true;
  }
  const auto waiting = overflow_.find(uid);
  return waiting != overflow_.end() && waiting->second.contains(flow);
}

void WaitingClients::admit(FlowId flow, uid_t uid) {
  const std::uint64_t ticket = next_ticket_++;
  backlog_.emplace_hint(backlog_.end(), ticket, Admitted{flow, uid, capacity_});
  FLOWFS_CHECK(tickets_.emplace(flow, ticket).second);
  allowance_.take(uid);
}

// One admission never makes another client eligible (it only takes from what is free), so one pass
// that always moves forward finds them all.
void WaitingClients::admit_eligible() {
  auto front = fronts_.begin();
  while (front != fronts_.end() && allowance_.taken() < capacity_) {
    const auto [flow, uid] = *front;
    ++front;
    if (!has_place(uid)) {
      continue;
    }
    FLOWFS_CHECK(remove_from_overflow(flow, uid));
    admit(flow, uid);
    // The next of this uid may stand before the one that `front` points at.
    front = fronts_.upper_bound({flow, uid});
  }
}

void WaitingClients::add_to_overflow(FlowId flow, uid_t uid) {
  std::set<FlowId>& waiting = overflow_[uid];
  if (waiting.empty()) {
    fronts_.insert({flow, uid});
  }
  FLOWFS_CHECK(waiting.insert(flow).second);
  FLOWFS_CHECK(*waiting.rbegin() == flow);  // ids ascend with time
  ++overflow_size_;
}

bool WaitingClients::remove_from_overflow(FlowId flow, uid_t uid) {
  const auto entry = overflow_.find(uid);
  if (entry == overflow_.end()) {
    return false;
  }
  std::set<FlowId>& waiting = entry->second;
  const FlowId front = *waiting.begin();
  if (waiting.erase(flow) == 0) {
    return false;
  }
  --overflow_size_;
  if (flow == front) {
    fronts_.erase({front, uid});
    if (!waiting.empty()) {
      fronts_.insert({*waiting.begin(), uid});
    }
  }
  if (waiting.empty()) {
    overflow_.erase(entry);
  }
  return true;
}

std::string WaitingClients::check_invariants() const {
  std::map<uid_t, std::uint64_t> held;
  for (const auto& [ticket, admitted] : backlog_) {
    ++held[admitted.uid];
    const auto found = tickets_.find(admitted.flow);
    if (found == tickets_.end() || found->second != ticket) {
      return "a client in the backlog has no ticket for its place";
    }
  }
  if (tickets_.size() != backlog_.size() || allowance_.taken() != backlog_.size()) {
    return "the backlog's places are not those that are taken";
  }
  for (const auto& [uid, places] : held) {
    if (allowance_.held_by(uid) != places) {
      return "a uid's share of the backlog is not what it holds there";
    }
  }
  // Whoever is still there was there when the last was admitted.
  if (!backlog_.empty() && backlog_.size() > backlog_.rbegin()->second.capacity) {
    return "the backlog is longer than it may be";
  }
  std::size_t waiting = 0;
  for (const auto& [uid, flows] : overflow_) {
    waiting += flows.size();
    if (flows.empty() || !fronts_.contains({*flows.begin(), uid})) {
      return "the longest waiting client of a uid is not in front";
    }
    if (has_place(uid)) {
      return "a client waits in the overflow although it could have a place";
    }
    if (std::ranges::any_of(flows, [&](FlowId flow) { return tickets_.contains(flow); })) {
      return "a client is in both backlog and overflow";
    }
  }
  const bool complete = waiting == overflow_size_ && fronts_.size() == overflow_.size();
  return complete ? "" : "the overflow's order holds what does not wait";
}

}  // namespace flowfs::registry
