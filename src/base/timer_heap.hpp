// SPDX-License-Identifier: BSD-3-Clause
// The armed timers of a loop, soonest first; equal deadlines in the order of arming.
//
// Threads: the loop's. Owns: nothing; an entry leaves before it dies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/clock.hpp"

namespace flowfs {

class TimerHeap {
 public:
  class Entry {
   public:
    Entry() = default;
    virtual ~Entry() = default;
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    [[nodiscard]] Instant deadline() const { return deadline_; }  // kNever when not armed

   private:
    friend class TimerHeap;
    virtual void expired() = 0;

    Instant deadline_ = kNever;
    std::uint64_t sequence_ = 0;
    std::size_t position_ = 0;
    bool expiring_ = false;  // position_ is one in expiring_ and not in heap_
  };

  // Arms, moves or (kNever) disarms.
  void arm(Entry& entry, Instant deadline);
  void disarm(Entry& entry);

  // kNever when none is armed.
  [[nodiscard]] Instant soonest() const { return heap_.empty() ? kNever : heap_[0]->deadline_; }

  // Calls expired() of each entry due at `now`, disarmed. What is armed meanwhile waits for the
  // next call, however early its deadline: a timer that re-arms itself cannot starve the others.
  void expire(Instant now);

 private:
  static bool before(const Entry& a, const Entry& b) {
    return a.deadline_ != b.deadline_ ? a.deadline_ < b.deadline_ : a.sequence_ < b.sequence_;
  }
  void place(Entry& entry, std::size_t position);
  void sift_up(Entry& entry, std::size_t position);
  void sift_down(Entry& entry, std::size_t position);
  void remove_at(std::size_t position);

  std::vector<Entry*> heap_;
  std::vector<Entry*> expiring_;  // null where disarmed by an earlier one's callback
  std::uint64_t next_sequence_ = 0;
};

}  // namespace flowfs
