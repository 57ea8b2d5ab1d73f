// SPDX-License-Identifier: BSD-3-Clause
// The servers that wait in one name's `accept`, and which of them gets the next flow.
//
// A process (uid and pid as told) may wait with many ends; they queue behind each other, and only
// the processes are ranked. So every change is O(log n), also where one process has 10,000 ends.
//
// Threads: one.
// Invariants:
//   1. A process is ranked exactly while one of its ends waits.
//   2. A process is remembered without waiting ends or live flows only for round_robin, and at most
//      kRemembered of them; the one served longest ago is forgotten first, which comes nearest to
//      what forgetting means ("never served").
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "registry/types.hpp"

namespace flowfs::registry {

struct ServerProcess {
  uid_t uid = 0;
  pid_t pid = 0;
  auto operator<=>(const ServerProcess&) const = default;
};

class WaitingServers {
 public:
  static constexpr std::size_t kRemembered = 64;

  void set_balance(Balance balance);

  void add(FlowId flow, ServerProcess who);
  void remove(FlowId flow, ServerProcess who);
  // The end to serve next; the longest waiting of its process. Precondition: not empty().
  [[nodiscard]] FlowId next() const;

  // `who` got a flow; a server end of its has gone again.
  void flow_began(ServerProcess who);
  void flow_ended(ServerProcess who);

  [[nodiscard]] bool empty() const { return ready_.empty(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool contains(FlowId flow, ServerProcess who) const;
  [[nodiscard]] std::uint64_t live_flows(ServerProcess who) const;
  // Empty, or the invariant that does not hold.
  [[nodiscard]] std::string check_invariants() const;

 private:
  struct Process {
    std::set<FlowId> waiting;  // ids ascend with time: the first has waited longest
    std::uint64_t live = 0;
    std::uint64_t last_served = 0;  // 0: never
  };
  struct Rank {
    std::uint64_t merit = 0;  // lower is served earlier; what it counts depends on the balance
    FlowId longest_waiting{};
    ServerProcess who;
    auto operator<=>(const Rank&) const = default;
  };
  using Processes = std::map<ServerProcess, Process>;

  [[nodiscard]] Rank rank_of(const Processes::value_type& entry) const;
  void unfile(const Processes::value_type& entry);
  void file(Processes::iterator entry);
  void forget_oldest();

  Balance balance_ = Balance::fifo;
  Processes processes_;
  std::set<Rank> ready_;
  std::set<std::pair<std::uint64_t, ServerProcess>> remembered_;  // by last_served
  std::size_t size_ = 0;
  std::uint64_t served_ = 0;
};

}  // namespace flowfs::registry
