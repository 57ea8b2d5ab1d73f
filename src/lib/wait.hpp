// SPDX-License-Identifier: BSD-3-Clause
// Until when a call waits, and whose turn it is.
#pragma once

#include <mutex>

#include "base/clock.hpp"
#include "base/result.hpp"

namespace flowfs::lib {

struct Wait {
  bool blocks = false;
  Instant deadline = kNever;

  [[nodiscard]] bool is_over() const { return deadline != kNever && Clock::now() >= deadline; }
  // What a call says that has found nothing to do until now.
  [[nodiscard]] Status timed_out() const {
    return blocks ? fail(ETIMEDOUT, "timeout") : fail(EAGAIN, "not yet");
  }
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
