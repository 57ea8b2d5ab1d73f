// SPDX-License-Identifier: BSD-3-Clause
// What one direction of an end has done, told in the end's own segment for flows/ID/stats.
//
// Threads: one, that of its direction; any process reads. All stores are relaxed: each figure
// stands for itself, and one that is read a moment early is only less.
#pragma once

#include <cstdint>

#include "flowfs/wire.h"
#include "pool/shared.hpp"

namespace flowfs::lib {

class Tally {
 public:
  explicit Tally(flowfs_counters& told) : told_(&told) {}

  void copied(std::uint64_t payloads = 1) { tell(told_->copies, copies_ += payloads); }
  void waited() { tell(told_->waits, ++waits_); }
  void woke() { tell(told_->wakeups, ++wakeups_); }
  void dropped() { tell(told_->drops, ++drops_); }

 private:
  static void tell(std::uint64_t& word, std::uint64_t value) {
    pool::shared(word).store(value, std::memory_order_relaxed);
  }

  flowfs_counters* told_;
  std::uint64_t copies_ = 0;
  std::uint64_t waits_ = 0;
  std::uint64_t wakeups_ = 0;
  std::uint64_t drops_ = 0;
};

}  // namespace flowfs::lib
