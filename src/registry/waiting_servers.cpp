// SPDX-License-Identifier: BSD-3-Clause
#include "registry/waiting_servers.hpp"

#include "base/result.hpp"

namespace flowfs::registry {

void WaitingServers::set_balance(Balance balance) {
  if (balance == balance_) {
    return;
  }
  balance_ = balance;
  ready_.clear();
  for (const auto& entry : processes_) {
    if (!entry.second.waiting.empty()) {
      ready_.insert(rank_of(entry));
    }
  }
}

void WaitingServers::add(FlowId flow, ServerProcess who) {
  const auto entry = processes_.try_emplace(who).first;
  unfile(*entry);
  FLOWFS_CHECK(entry->second.waiting.insert(flow).second);
  ++size_;
  file(entry);
}

void WaitingServers::remove(FlowId flow, ServerProcess who) {
  const auto entry = processes_.find(who);
  FLOWFS_CHECK(entry != processes_.end());
  unfile(*entry);
  FLOWFS_CHECK(entry->second.waiting.erase(flow) == 1);
  --size_;
  file(entry);
}

FlowId WaitingServers::next() const {
  FLOWFS_CHECK(!ready_.empty());
  return ready_.begin()->longest_waiting;
}

void WaitingServers::flow_began(ServerProcess who) {
  const auto entry = processes_.try_emplace(who).first;
  unfile(*entry);
  ++entry->second.live;
  entry->second.last_served = ++served_;
  file(entry);
}

void WaitingServers::flow_ended(ServerProcess who) {
  const auto entry = processes_.find(who);
  FLOWFS_CHECK(entry != processes_.end() && entry->second.live > 0);
  unfile(*entry);
  --entry->second.live;
  file(entry);
}

bool WaitingServers::contains(FlowId flow, ServerProcess who) const {
  const auto entry = processes_.find(who);
  return entry != processes_.end() && entry->second.waiting.contains(flow);
}

std::uint64_t WaitingServers::live_flows(ServerProcess who) const {
  const auto entry = processes_.find(who);
  return entry == processes_.end() ? 0 : entry->second.live;
}

WaitingServers::Rank WaitingServers::rank_of(const Processes::value_type& entry) const {
  const auto& [who, process] = entry;
  Rank rank{0, *process.waiting.begin(), who};
  switch (balance_) {
    case Balance::fifo:
      break;
    case Balance::round_robin:
      rank.merit = process.last_served;
      break;
    case Balance::least_flows:
      rank.merit = process.live;
      break;
  }
  return rank;
}

// Takes a process out of the orders before what they are ordered by changes.
void WaitingServers::unfile(const Processes::value_type& entry) {
  const auto& [who, process] = entry;
  if (!process.waiting.empty()) {
    ready_.erase(rank_of(entry));
  } else {
    remembered_.erase({process.last_served, who});
  }
}

void WaitingServers::file(Processes::iterator entry) {
  const auto& [who, process] = *entry;
  if (!process.waiting.empty()) {
    ready_.insert(rank_of(*entry));
  } else if (process.live == 0 && process.last_served == 0) {
    processes_.erase(entry);
  } else if (process.live == 0) {
    remembered_.insert({process.last_served, who});
    forget_oldest();
  }
}

void WaitingServers::forget_oldest() {
  if (remembered_.size() > kRemembered) {
    processes_.erase(remembered_.begin()->second);
    remembered_.erase(remembered_.begin());
  }
}

std::string WaitingServers::check_invariants() const {
  std::size_t waiting = 0;
  std::size_t ready = 0;
  std::size_t idle = 0;
  for (const auto& entry : processes_) {
    const auto& [who, process] = entry;
    waiting += process.waiting.size();
    if (!process.waiting.empty()) {
      ++ready;
      if (!ready_.contains(rank_of(entry))) {
        return "a waiting server process is not ranked as it should be";
      }
    } else if (process.live == 0) {
      ++idle;
      if (!remembered_.contains({process.last_served, who})) {
        return "an idle server process is kept without being remembered";
      }
    }
  }
  if (ready != ready_.size() || idle != remembered_.size() || waiting != size_) {
    return "the orders of waiting servers hold what does not wait";
  }
  return idle > kRemembered ? "too many idle server processes are remembered" : "";
}

}  // namespace flowfs::registry
