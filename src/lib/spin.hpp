// SPDX-License-Identifier: BSD-3-Clause
// How long to look before sleeping.
//
// A spin that ends with something to do doubles the budget, one that does not halves it. Where the
// two ends cannot run at once a spin only keeps the other from running: then there is none. The
// least budget is shorter than any answer, so that now and then a longer one tries whether the peer
// runs on another processor by now.
//
// A look takes the cache line from a peer that is about to write it, which costs the peer more than
// a short message does. So the first look of a spin is late, and the later, the more often
// something was there by then: whoever reads a stream finds many messages at a time, and the writer
// is left alone meanwhile. An answer takes longer than the shortest such pause, and is seen no
// later for it.
//
// Threads: one, that of its direction.
#pragma once

#include <algorithm>
#include <cstdint>

namespace flowfs::lib {

enum class SpinPolicy : std::uint8_t { adaptive, never, always };

// As FLOWFS_SPIN_* in `flags` say.
SpinPolicy spin_policy(unsigned flags);

class SpinBudget {
 public:
  // In pauses of the processor, 10 to 50 ns each.
  static constexpr std::uint32_t kLeast = 8;
  static constexpr std::uint32_t kMost = 2048;
  static constexpr std::uint32_t kProbe = 256;
  static constexpr std::uint32_t kFailuresToProbe = 64;  // at the least budget
  // Before the first look.
  static constexpr std::uint32_t kLeastPatience = 4;
  static constexpr std::uint32_t kMostPatience = 64;

  // `alone`: this process and its peer share the only processor they may use.
  SpinBudget(SpinPolicy policy, bool alone)
      : policy_(policy), budget_(policy == SpinPolicy::never || alone ? 0 : kLeast * 16) {}

  // Whether `ready` became true before the budget was used up, of which a look takes `cost`.
  template <typename Ready>
  bool spin(Ready ready, std::uint32_t cost = 1) {
    // No more than half of it all: there is another look at least.
    std::uint32_t pauses = std::clamp(budget_ / 2, 1U, patience_);
    bool first = true;
    for (std::uint32_t left = budget_; left >= std::max(cost, pauses);) {
      left -= std::max(cost, pauses);
      pause(pauses);
      if (ready()) {
        budget_ = std::min(budget_ * 2, kMost);
        patience_ = first ? std::min(patience_ * 2, kMostPatience) : kLeastPatience;
        return true;
      }
      first = false;
      pauses = 1;
    }
    patience_ = kLeastPatience;
    if (budget_ > kLeast) {
      budget_ = std::max(budget_ / 2, kLeast);
    } else if (budget_ != 0 && ++failures_ == kFailuresToProbe) {
      failures_ = 0;
      budget_ = kProbe;
    }
    return false;
  }

  [[nodiscard]] bool may_sleep() const { return policy_ != SpinPolicy::always; }
  [[nodiscard]] std::uint32_t budget() const { return budget_; }
  [[nodiscard]] std::uint32_t patience() const { return patience_; }

 private:
  static void pause(std::uint32_t times) {
    for (; times != 0; --times) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      asm volatile("yield");
#endif
    }
  }

  SpinPolicy policy_;
  std::uint32_t budget_;
  std::uint32_t failures_ = 0;  // at the least budget
  std::uint32_t patience_ = kLeastPatience;
};

// Whether this thread and `peer` (0: unknown) are bound to one and the same processor, or there is
// only one.
bool shares_only_processor(int peer);

}  // namespace flowfs::lib
