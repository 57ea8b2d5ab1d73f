// SPDX-License-Identifier: BSD-3-Clause
// Which requests were answered already, in bounded memory.
//
// Nothing is forgotten because time passes: a clock that is set forward and back again must not
// bring an old request back to life. Where there is no room, the request with the earliest time is
// forgotten, and whatever is not later than that one counts as seen from then on.
//
// Threads: one at a time.
// Invariants: once seen(), always seen().
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>

#include "auth/header.hpp"

namespace flowfs::auth {

class ReplayCache {
 public:
  explicit ReplayCache(std::size_t most) : most_(most) {}

  [[nodiscard]] bool seen(std::uint64_t timestamp_ns, const HeaderId& id) const {
    return timestamp_ns <= floor_ns_ || seen_.contains({timestamp_ns, id});
  }
  void insert(std::uint64_t timestamp_ns, const HeaderId& id) {
    seen_.emplace(timestamp_ns, id);
    if (seen_.size() > most_) {
      floor_ns_ = seen_.begin()->first;
      // All of that time, so that none is both forgotten and kept.
      while (!seen_.empty() && seen_.begin()->first == floor_ns_) {
        seen_.erase(seen_.begin());
      }
    }
  }
  [[nodiscard]] std::size_t size() const { return seen_.size(); }

 private:
  std::size_t most_;
  std::uint64_t floor_ns_ = 0;
  std::set<std::pair<std::uint64_t, HeaderId>> seen_;
};

}  // namespace flowfs::auth
