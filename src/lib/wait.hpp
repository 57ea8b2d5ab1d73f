// SPDX-License-Identifier: BSD-3-Clause
// Until when a call waits, and whose turn it is.
#pragma once

#include <mutex>
#include <utility>

#include "base/clock.hpp"
#include "base/result.hpp"

namespace flowfs::lib {

// The clock is read when a call first asks how long it may wait, so not where its answer is there.
//
// Threads: that of its call; one that does not wait or waits for ever, any.
struct Wait {
  static Wait for_ever() { return Wait(true, Micros::zero()); }
  static Wait at_most(Micros timeout) { return Wait(true, timeout); }
  constexpr Wait() = default;  // not at all

  [[nodiscard]] bool has_end() const { return !blocks || deadline() != kNever; }
  [[nodiscard]] Instant deadline() const {
    if (timeout_ != Micros::zero()) {
      deadline_ = later(Clock::now(), std::exchange(timeout_, Micros::zero()));
    }
    return deadline_;
  }
  [[nodiscard]] bool is_over() const { return deadline() != kNever && Clock::now() >= deadline(); }
  // What a call says that has found nothing to do until now.
  [[nodiscard]] Status timed_out() const {
    return blocks ? fail(ETIMEDOUT, "timeout") : fail(EAGAIN, "not yet");
  }

  bool blocks = false;

 private:
  Wait(bool may_block, Micros timeout) : blocks(may_block), timeout_(timeout) {}

  mutable Micros timeout_{};  // zero: it has become the deadline, or there is none
  mutable Instant deadline_ = kNever;
};

inline constexpr Wait kAtOnce{};  // what cannot be done now is not waited for

inline bool is_not_yet(const Status& status) { return !status && status.error().error == EAGAIN; }

// One in each direction at a time. Without waiting where the call must not.
inline Result<std::unique_lock<std::mutex>> take_turn(std::mutex& mutex, const Wait& wait) {
  std::unique_lock<std::mutex> lock(mutex, std::defer_lock);
  if (wait.blocks) {
    lock.lock();
  } else if (!lock.try_lock()) {
    return fail(EAGAIN, "another thread's turn");
  }
  return lock;
}

}  // namespace flowfs::lib
