// SPDX-License-Identifier: BSD-3-Clause
#include "base/futex_any.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>

#include "base/result.hpp"

namespace flowfs {

FutexAnyOutcome futex_wait_any(std::span<const FutexExpectation> words, Instant deadline) {
  FLOWFS_CHECK(!words.empty() && words.size() <= kMostFutexes);
  std::array<futex_waitv, kMostFutexes> waiters{};
  for (std::size_t i = 0; i < words.size(); ++i) {
    waiters[i].val = words[i].value;
    waiters[i].uaddr = reinterpret_cast<std::uintptr_t>(words[i].word);
    waiters[i].flags = FUTEX_32;
  }
  timespec until{};
  if (deadline != kNever) {
    const auto since_boot = deadline.time_since_epoch();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since_boot);
    until.tv_sec = seconds.count();
    until.tv_nsec = (since_boot - seconds).count();
  }
  const long result = ::syscall(SYS_futex_waitv, waiters.data(), words.size(), 0,
                                deadline == kNever ? nullptr : &until, CLOCK_MONOTONIC);
  if (result >= 0 || errno == EAGAIN || errno == EINTR) {
    return FutexAnyOutcome::changed;
  }
  if (errno == ETIMEDOUT) {
    return FutexAnyOutcome::timed_out;
  }
  // Anything else (a word that is not mapped) is a mistake of ours and would spin for ever.
  FLOWFS_CHECK(errno == ENOSYS);
  return FutexAnyOutcome::unsupported;
}

}  // namespace flowfs
