// SPDX-License-Identifier: BSD-3-Clause
// How long to look before sleeping.
//
// A spin that ends with something to do doubles the budget, one that does not halves it. Where the
// two ends cannot run at once a spin only keeps the other from running: then there is none. The
// least budget is shorter than any answer, so that now and then a longer one tries whether the peer
// runs on another processor by now.
//
// A look takes the cache line from a peer that is about to write it, which costs the peer more than
// a short message does; so there is a pause before the first one. Where messages come so close that
// several are there after it, it doubles: whoever reads a stream finds many at a time, and the
// writer is left alone meanwhile. Where there is one, as for an answer, the pause should end just
// when the answer is there: it grows a little when a look was too early, and shrinks now and then
// while none is, so that two ends that wait for each other do not go on pausing for as long as the
// other does. As one message at a time may also be a stream of which the pause lets no second one
// come, a pause of twice the length is tried now and then.
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
  // A stream has several messages in one pause, and each in fewer than so many of the processor.
  static constexpr std::uint32_t kStream = 8;
  // The pause was too short for what came by so many looks after the first.
  static constexpr std::uint32_t kTooEarly = 16;
  static constexpr std::uint32_t kAnswersToShorten = 4;  // that were there at the first look
  static constexpr std::uint32_t kSpinsToTryTwice = 64;

  // `alone`: this process and its peer share the only processor they may use.
  SpinBudget(SpinPolicy policy, bool alone)
      : policy_(policy), budget_(policy == SpinPolicy::never || alone ? 0 : kLeast * 16) {}

  // Whether `ready` became true before the budget was used up, of which a look takes `cost`.
  // `passed`: how many messages have gone by so far; always the same where nobody counts.
  template <typename Ready>
  bool spin(Ready ready, std::uint64_t passed, std::uint32_t cost = 1) {
    adjust_patience(passed);
    // No more than half of it all: there is another look at least.
    const std::uint32_t longest = std::max(budget_ / 2, 1U);
    const bool twice = ++spins_ % kSpinsToTryTwice == 0;
    std::uint32_t pauses = std::min(twice ? patience_ * 2 : patience_, longest);
    looks_ = 0;
    for (std::uint32_t left = budget_; left >= std::max(cost, pauses);) {
      left -= std::max(cost, pauses);
      pause(pauses);
      ++looks_;
      if (ready()) {
        budget_ = std::min(budget_ * 2, kMost);
        return true;
      }
      pauses = 1;
    }
    looks_ = kNone;
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
  static constexpr std::uint32_t kNone = UINT32_MAX;

  // By when the last spin found something, and what came until now.
  void adjust_patience(std::uint64_t passed) {
    const std::uint64_t brought = passed - std::exchange(passed_, passed);
    if (looks_ > 1) {
      if (looks_ <= 1 + kTooEarly) {
        patience_ = std::min(patience_ + 1, kMostPatience);
      }
    } else if (brought > 1 && brought * kStream > patience_) {
      patience_ = std::min(patience_ * 2, kMostPatience);
    } else if (++answers_ % kAnswersToShorten == 0) {
      patience_ = std::max(patience_ - std::max(patience_ / 8, 1U), kLeastPatience);
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
  std::uint32_t spins_ = 0;
  std::uint32_t answers_ = 0;    // each there at the first look
  std::uint32_t looks_ = kNone;  // by which the last spin found something
  std::uint64_t passed_ = 0;     // by the last spin
};

// Whether this thread and `peer` (0: unknown) are bound to one and the same processor, or there is
// only one.
bool shares_only_processor(int peer);

}  // namespace flowfs::lib
