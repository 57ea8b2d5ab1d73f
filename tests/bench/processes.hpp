// SPDX-License-Identifier: BSD-3-Clause
// The processes that a measurement consists of. A failure of any of them ends the program: there is
// nothing to measure then.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>

#include "base/futex.hpp"

namespace flowfs::bench {

[[noreturn]] void die(const char* what);

// `body` in a process of its own. It ends with this one, and this one ends when that fails.
pid_t start_process(const std::function<void()>& body);
void finish_process(pid_t pid);

// $FLOWFS_DAEMON_PID, which the daemon that is measured has.
pid_t daemon_process();

// Time that all threads of a process have spent on processors so far; 0: this process.
double processor_seconds(pid_t pid);

// Opens when it has been counted down. Lies in memory that the processes share.
class Latch {
 public:
  // Before anybody else knows of it.
  void set(std::uint32_t count) { left_.store(count, std::memory_order_relaxed); }
  void count_down();
  void wait() const;
  [[nodiscard]] bool is_open() const;

 private:
  FutexWord left_ = 1;
};

}  // namespace flowfs::bench
