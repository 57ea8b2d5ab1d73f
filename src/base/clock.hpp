// SPDX-License-Identifier: BSD-3-Clause
// The time that the loop, the registry and the tests share.
#pragma once

#include <chrono>
#include <cstdint>

namespace flowfs {

// CLOCK_MONOTONIC. Pure state machines take `now` as an argument and never read it themselves.
using Clock = std::chrono::steady_clock;
using Instant = Clock::time_point;
using Micros = std::chrono::microseconds;

inline constexpr Instant kNever = Instant::max();

// `start + wait`, or kNever where that would overflow.
constexpr Instant later(Instant start, Micros wait) {
  return wait >= std::chrono::duration_cast<Micros>(kNever - start) ? kNever : start + wait;
}

// Microseconds since the epoch, for what people read (events, logs).
std::uint64_t wall_clock_us();

}  // namespace flowfs
