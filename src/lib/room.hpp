// SPDX-License-Identifier: BSD-3-Clause
// How a call of the sending direction waits for room, wherever that comes from.
//
// Threads: one at a time; ring_when_ready() any.
#pragma once

#include <atomic>
#include <cstdint>

#include "lib/spin.hpp"
#include "lib/wait.hpp"

namespace flowfs::lib {

class RoomWait {
 public:
  explicit RoomWait(SpinBudget spin) : spin_(spin) {}

  // As Pollable says.
  void ring_when_ready() { rings_.store(true, std::memory_order_relaxed); }

  // Calls `attempt` until it returns something else than EAGAIN, or the wait is over. `can_go_on`:
  // whether it is worth another attempt. `sleep`: until then; false: there is no room and the call
  // may not wait, it is left asleep for whoever polls. `awake`: ends that. `passed`: as
  // SpinBudget::spin() says.
  template <typename Awake, typename Attempt, typename CanGoOn, typename Sleep>
  Status until(const Wait& wait, std::uint64_t passed, Awake awake, Attempt attempt,
               CanGoOn can_go_on, Sleep sleep) {
    while (true) {
      awake();
      const Status done = attempt();
      if (!is_not_yet(done)) {
        return done;
      }
      if (wait.blocks && spin_.spin(can_go_on, passed)) {
        continue;
      }
      if (!wait.blocks && !rings_.load(std::memory_order_relaxed)) {
        return done;
      }
      if (wait.blocks && wait.is_over()) {
        return wait.timed_out();
      }
      if (wait.blocks && !spin_.may_sleep()) {
        continue;
      }
      if (!sleep()) {
        return done;
      }
    }
  }

 private:
  SpinBudget spin_;
  std::atomic<bool> rings_ = false;
};

}  // namespace flowfs::lib
