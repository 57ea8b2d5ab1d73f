// SPDX-License-Identifier: BSD-3-Clause
#include "base/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "base/result.hpp"

namespace flowfs {

FutexOutcome futex_wait(const FutexWord* word, std::uint32_t expected, Instant deadline,
                        std::uint32_t mask) {
  timespec until{};
  if (deadline != kNever) {
    const auto since_boot = deadline.time_since_epoch();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since_boot);
    until.tv_sec = seconds.count();
    until.tv_nsec = (since_boot - seconds).count();
  }
  // WAIT_BITSET and not WAIT: its deadline is absolute, so a restart does not prolong the wait.
  const long result = ::syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected,
                                deadline == kNever ? nullptr : &until, nullptr, mask);
  if (result == 0) {
    return FutexOutcome::woken;
  }
  switch (errno) {
    case EAGAIN:
      return FutexOutcome::value_changed;
    case ETIMEDOUT:
      return FutexOutcome::timed_out;
    default:
      // Anything else (a word that is not mapped) is a mistake of ours and would spin for ever.
      FLOWFS_CHECK(errno == EINTR);
      return FutexOutcome::interrupted;
  }
}

int futex_wake(const FutexWord* word, int count, std::uint32_t mask) {
  const long woken = ::syscall(SYS_futex, word, FUTEX_WAKE_BITSET, count, nullptr, nullptr, mask);
  return woken < 0 ? 0 : static_cast<int>(woken);
}

}  // namespace flowfs
