// SPDX-License-Identifier: BSD-3-Clause
// Waiting on a 32-bit word that several processes map.
//
// std::atomic::wait does not wake another process; these are the shared (non-private) futex calls.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "base/clock.hpp"

namespace flowfs {

using FutexWord = std::atomic<std::uint32_t>;
static_assert(sizeof(FutexWord) == 4 && FutexWord::is_always_lock_free);

enum class [[nodiscard]] FutexOutcome { woken, value_changed, timed_out, interrupted };

// Waiters of one word may wait for different things: a wake reaches those whose mask shares a bit
// with its own. A mask is never 0.
inline constexpr std::uint32_t kFutexAny = 0xffffffff;

// Sleeps while *word == expected, at most until `deadline`. The word may be mapped read-only.
FutexOutcome futex_wait(const FutexWord* word, std::uint32_t expected, Instant deadline = kNever,
                        std::uint32_t mask = kFutexAny);

// Wakes up to `count` waiters, the longest asleep first, and returns how many. The word may be
// mapped read-only.
int futex_wake(const FutexWord* word, int count = std::numeric_limits<int>::max(),
               std::uint32_t mask = kFutexAny);

}  // namespace flowfs
