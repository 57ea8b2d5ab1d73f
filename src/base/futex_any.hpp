// SPDX-License-Identifier: BSD-3-Clause
// Waiting on several words at once (futex_waitv).
#pragma once

#include <cstddef>
#include <span>

#include "base/futex.hpp"

namespace flowfs {

struct FutexExpectation {
  const FutexWord* word = nullptr;
  std::uint32_t value = 0;
};

inline constexpr std::size_t kMostFutexes = 128;

enum class [[nodiscard]] FutexAnyOutcome {
  changed,  // one was woken, or did not hold its value; or a signal came
  timed_out,
  unsupported,  // Linux before 5.16
};

// Sleeps while each word holds its value, at most until `deadline`; 1 to kMostFutexes of them. They
// may be mapped read-only.
FutexAnyOutcome futex_wait_any(std::span<const FutexExpectation> words, Instant deadline = kNever);

}  // namespace flowfs
