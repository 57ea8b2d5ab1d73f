// SPDX-License-Identifier: BSD-3-Clause
// What a mapped member has made of a log that the bus does not write: what it says of that, as far
// as it can be true.
//
// Shape: what was sent and what it says in; the counts that are new out (bus::Bus::count_apart).
// Invariants: 1. Whatever it says, delivered + dropped never exceeds what it was sent, and neither
// goes back.
#pragma once

#include <cstdint>

#include "bus/bus.hpp"
#include "flowfs/wire.h"

namespace flowfs::fs {

class ApartTally {
 public:
  struct Start {
    std::uint64_t generation = 0;  // of the log
    std::uint64_t sequence = 0;    // of its first record there
    // In the log before it, still to be read when this one began.
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    // Of what it says of that log, what is not of those.
    flowfs_log_tally told{};
  };
  // The words of its segment.
  struct Said {
    std::uint64_t generation = 0;
    std::uint64_t sequence = 0;
    flowfs_log_tally present{};
    flowfs_log_tally former{};
  };

  explicit ApartTally(const Start& start)
      : start_(start), before_{.lost = 0, .bytes = start.bytes} {}

  // `sent` is the number of the next record of the log. What has changed since the last time.
  bus::PortCounts count(std::uint64_t sent, const Said& said);
  // Whether all that it was sent so far is read, or lost.
  [[nodiscard]] bool has_read_all() const { return told_.delivered + told_.dropped == told_.lag; }
  [[nodiscard]] std::uint64_t generation() const { return start_.generation; }

 private:
  Start start_;
  flowfs_log_tally before_;  // what it made of the log before; until that is seen, all that it can
  bus::PortCounts told_;     // `lag` being what was sent to it
};

}  // namespace flowfs::fs
