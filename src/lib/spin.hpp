// SPDX-License-Identifier: BSD-3-Clause
// How long to look before sleeping.
//
// A spin that ends with something to do doubles the budget, one that does not halves it. Where the
// two ends cannot run at once a spin only keeps the other from running: then there is none. The
// least budget is shorter than any answer, so that now and then a longer one tries whether the peer
// runs on another processor by now.
//
// A look takes the cache line from a peer that is about to write it, which costs the peer more than
// a short message does. Where messages come so close that several are there after the pause before
// the first look, that pause doubles: whoever reads a stream finds many at a time, and the writer
// is left alone meanwhile. Where there is one, as for an answer, it is halved: else two ends that
// wait for each other would both go on pausing for as long as the other does, with an answer there.
//
// Threads: one, that of its direction.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

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
  // A stream has a message in fewer pauses than so many.
  static constexpr std::uint32_t kStream = 8;

  // `alone`: this process and its peer share the only processor they may use.
  SpinBudget(SpinPolicy policy, bool alone)
      : policy_(policy), budget_(policy == SpinPolicy::never || alone ? 0 : kLeast * 16) {}

  // Whether `ready` became true before the budget was used up, of which a look takes `cost`.
  // `passed`: how many messages have gone by so far; always the same where nobody counts.
  template <typename Ready>
  bool spin(Ready ready, std::uint64_t passed, std::uint32_t cost = 1) {
    adjust_patience(passed);
    // No more than half of it all: there is another look at least.
    std::uint32_t pauses = std::clamp(budget_ / 2, 1U, patience_);
    bool first = true;
    for (std::uint32_t left = budget_; left >= std::max(cost, pauses);) {
      left -= std::max(cost, pauses);
      pause(pauses);
      if (ready()) {
        budget_ = std::min(budget_ * 2, kMost);
        waited_well_ = first;
        return true;
      }
      first = false;
      pauses = 1;
    }
    waited_well_ = false;
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
  // By what the pause before the first look of the last spin brought, up to now.
  void adjust_patience(std::uint64_t passed) {
    const std::uint64_t brought = passed - std::exchange(passed_, passed);
    if (!waited_well_) {
      patience_ = kLeastPatience;
    } else if (brought * kStream > patience_) {
      patience_ = std::min(patience_ * 2, kMostPatience);
    } else {
      patience_ = std::max(patience_ / 2, kLeastPatience);
    }
  }
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
  bool waited_well_ = false;  // the last spin found something at its first look
  std::uint64_t passed_ = 0;  // by the last spin
};

// Whether this thread and `peer` (0: unknown) are bound to one and the same processor, or there is
// only one.
bool shares_only_processor(int peer);

}  // namespace flowfs::lib
