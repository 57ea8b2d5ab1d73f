// SPDX-License-Identifier: BSD-3-Clause
// The clients that wait in one name's `dial`: the backlog, and the overflow behind it.
//
// The backlog is first in, first out in the order of admission. A blocking dial that finds no place
// there, because it is full or because its uid's share is used up, waits in the overflow; whenever
// a place frees, the longest waiting client that may take one moves up. The overflow is kept per
// uid, since the clients of one uid may all move up or none: finding the next costs O(log n)
// however many ends one uid parks, and at worst one look per uid.
//
// Threads: one.
// Invariants:
//   1. A client is in exactly one of the two; its uid holds one place of the allowance while it is
//      in the backlog.
//   2. No client in the overflow could have a place (after every call).
//   3. The backlog never grows past the capacity that holds at that moment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "registry/types.hpp"
#include "registry/users.hpp"

namespace flowfs::registry {

class WaitingClients {
 public:
  WaitingClients(uid_t owner, std::uint64_t capacity) : owner_(owner), capacity_(capacity) {}

  // A smaller capacity takes no place away.
  void set_capacity(std::uint64_t capacity);

  [[nodiscard]] bool has_place(uid_t uid) const;
  // Into the backlog where there is a place, else into the overflow.
  void add(FlowId flow, uid_t uid);
  void remove(FlowId flow, uid_t uid);
  // The client to serve next: the first of the backlog, else of the overflow. Precondition: not
  // empty().
  [[nodiscard]] FlowId next() const;
  // Takes all out: the backlog in its order, then the overflow by age.
  std::vector<FlowId> drain();

  [[nodiscard]] bool empty() const { return backlog_.empty() && fronts_.empty(); }
  [[nodiscard]] std::size_t in_backlog() const { return backlog_.size(); }
  [[nodiscard]] std::size_t in_overflow() const { return overflow_size_; }
  [[nodiscard]] bool contains(FlowId flow, uid_t uid) const;
  // Empty, or the invariant that does not hold.
  [[nodiscard]] std::string check_invariants() const;

 private:
  struct Admitted {
    FlowId flow{};
    uid_t uid = 0;
    std::uint64_t capacity = 0;  // that held when it was admitted
  };

  void admit(FlowId flow, uid_t uid);
  void admit_eligible();
  void add_to_overflow(FlowId flow, uid_t uid);
  bool remove_from_overflow(FlowId flow, uid_t uid);

  uid_t owner_;
  std::uint64_t capacity_;
  SharedAllowance allowance_;
  std::map<std::uint64_t, Admitted> backlog_;  // by ticket, which ascends with each admission
  std::unordered_map<FlowId, std::uint64_t> tickets_;
  std::uint64_t next_ticket_ = 0;
  std::map<uid_t, std::set<FlowId>> overflow_;
  std::set<std::pair<FlowId, uid_t>> fronts_;  // the longest waiting of each uid in the overflow
  std::size_t overflow_size_ = 0;
};

}  // namespace flowfs::registry
