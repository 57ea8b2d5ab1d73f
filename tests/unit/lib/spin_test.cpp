// SPDX-License-Identifier: BSD-3-Clause
#include "lib/spin.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "flowfs/flowfs.h"

namespace flowfs::lib {
namespace {

TEST(SpinBudget, halves_on_failure_down_to_the_least) {
  SpinBudget spin(SpinPolicy::adaptive, false);
  std::uint32_t before = spin.budget();
  while (before > SpinBudget::kLeast) {
    std::uint32_t looks = 0;
    EXPECT_FALSE(spin.spin(
        [&] {
          ++looks;
          return false;
        },
        0));
    // The first comes as late as several others would take.
    EXPECT_EQ(looks, before - std::min(SpinBudget::kLeastPatience, before / 2) + 1);
    EXPECT_EQ(spin.budget(), before / 2);
    before = spin.budget();
  }
  EXPECT_FALSE(spin.spin([] { return false; }, 0));
  EXPECT_EQ(spin.budget(), SpinBudget::kLeast);
}

TEST(SpinBudget, tries_a_longer_one_now_and_then) {
  SpinBudget spin(SpinPolicy::adaptive, false);
  const auto fail = [&] { EXPECT_FALSE(spin.spin([] { return false; }, 0)); };
  while (spin.budget() > SpinBudget::kLeast) {
    fail();
  }
  for (std::uint32_t left = SpinBudget::kFailuresToProbe; left > 0; --left) {
    EXPECT_EQ(spin.budget(), SpinBudget::kLeast);
    fail();
  }
  EXPECT_EQ(spin.budget(), SpinBudget::kProbe);
  fail();
  EXPECT_EQ(spin.budget(), SpinBudget::kProbe / 2);
}

TEST(SpinBudget, doubles_on_success_up_to_the_most) {
  SpinBudget spin(SpinPolicy::adaptive, false);
  const std::uint32_t before = spin.budget();
  EXPECT_TRUE(spin.spin([] { return true; }, 0));
  EXPECT_EQ(spin.budget(), 2 * before);
  for (int i = 0; i < 32; ++i) {
    EXPECT_TRUE(spin.spin([] { return true; }, 0));
  }
  EXPECT_EQ(spin.budget(), SpinBudget::kMost);
}

// Spins of which each finds something at its first look, and `brought` messages until the next.
class Found {
 public:
  std::uint32_t patience_after(std::uint64_t brought) {
    EXPECT_TRUE(spin.spin([] { return true; }, passed_));
    passed_ += brought;
    SpinBudget next = spin;
    EXPECT_TRUE(next.spin([] { return true; }, passed_));
    return next.patience();
  }

  SpinBudget spin{SpinPolicy::adaptive, false};

 private:
  std::uint64_t passed_ = 0;
};

TEST(SpinBudget, is_the_more_patient_the_more_messages_a_pause_brings) {
  Found stream;
  for (std::uint32_t patience = 2 * SpinBudget::kLeastPatience;
       patience <= SpinBudget::kMostPatience; patience *= 2) {
    EXPECT_EQ(stream.patience_after(100), patience);
  }
  EXPECT_EQ(stream.patience_after(100), SpinBudget::kMostPatience);
  EXPECT_EQ(stream.patience_after(SpinBudget::kMostPatience / SpinBudget::kStream + 1),
            SpinBudget::kMostPatience);
}

TEST(SpinBudget, shortens_the_pause_now_and_then_while_one_message_comes_at_a_time) {
  Found answers;
  for (int i = 0; i < 4; ++i) {
    answers.patience_after(100);
  }
  std::uint32_t before = answers.spin.patience();
  EXPECT_EQ(before, SpinBudget::kMostPatience / 2);
  std::uint32_t spins = 0;
  while (before > SpinBudget::kLeastPatience) {
    ++spins;
    const std::uint32_t now = answers.patience_after(1);
    EXPECT_LE(now, std::max(before, SpinBudget::kMostPatience));
    before = now;
    ASSERT_LT(spins, 1'000U);
  }
  EXPECT_GE(spins, SpinBudget::kAnswersToShorten);
}

// `looks`: by which the message is there; 0: it never is.
std::uint32_t patience_after_looks(std::uint32_t looks) {
  SpinBudget spin(SpinPolicy::always, false);
  const auto found = [&, left = looks]() mutable { return left != 0 && --left == 0; };
  EXPECT_EQ(spin.spin(found, 1), looks != 0);
  EXPECT_TRUE(spin.spin([] { return true; }, 2));
  return spin.patience();
}

TEST(SpinBudget, lengthens_the_pause_by_what_a_look_was_too_early) {
  EXPECT_EQ(patience_after_looks(1), SpinBudget::kLeastPatience);
  EXPECT_EQ(patience_after_looks(2), SpinBudget::kLeastPatience + 1);
  EXPECT_EQ(patience_after_looks(1 + SpinBudget::kTooEarly), SpinBudget::kLeastPatience + 1);
  // Whoever comes that late has another rhythm, or none.
  EXPECT_EQ(patience_after_looks(2 + SpinBudget::kTooEarly), SpinBudget::kLeastPatience);
  EXPECT_EQ(patience_after_looks(0), SpinBudget::kLeastPatience);
}

// Two ends that wait for each other: each finds its answer when both pauses, and what a message
// takes under way, are over. Neither may go on waiting for the pause of the other.
TEST(SpinBudget, lets_two_ends_that_wait_for_each_other_find_the_least_pause) {
  constexpr std::uint32_t kUnderWay = 10;
  SpinBudget ends[2]{SpinBudget(SpinPolicy::always, false), SpinBudget(SpinPolicy::always, false)};
  std::uint32_t pauses[2]{};
  std::uint64_t passed = 0;
  std::uint32_t excess = 20;  // of the end that something has held up
  for (int round = 0; round < 2'000; ++round) {
    for (int end = 0; end < 2; ++end) {
      const std::uint32_t needed = kUnderWay + excess;
      // What spin() takes: the pause, and a look after it for each that is still missing.
      const std::uint32_t patience = ends[end].patience();
      std::uint32_t looks = needed > patience ? needed - patience : 0;
      EXPECT_TRUE(ends[end].spin([&] { return looks-- == 0; }, passed));
      pauses[end] = std::max(patience, needed);
      excess = pauses[end] - needed;
    }
    ++passed;
  }
  EXPECT_LE(pauses[0] + pauses[1], 2 * (kUnderWay + 2));
}

TEST(SpinBudget, does_not_look_where_it_must_not_spin) {
  for (SpinBudget spin :
       {SpinBudget(SpinPolicy::never, false), SpinBudget(SpinPolicy::adaptive, true)}) {
    EXPECT_FALSE(spin.spin([] { return true; }, 0));
    EXPECT_EQ(spin.budget(), 0U);
    EXPECT_TRUE(spin.may_sleep());
  }
  EXPECT_FALSE(SpinBudget(SpinPolicy::always, false).may_sleep());
}

TEST(SpinBudget, looks_less_often_where_a_look_costs_more) {
  SpinBudget spin(SpinPolicy::adaptive, false);
  const std::uint32_t before = spin.budget();
  std::uint32_t looks = 0;
  EXPECT_FALSE(spin.spin(
      [&] {
        ++looks;
        return false;
      },
      0, before / 3));
  EXPECT_EQ(looks, 3U);
  EXPECT_FALSE(spin.spin([] { return true; }, 0, spin.budget() + 1));
}

TEST(SpinPolicy, is_as_the_flags_say) {
  EXPECT_EQ(spin_policy(0), SpinPolicy::adaptive);
  EXPECT_EQ(spin_policy(FLOWFS_SPIN_NEVER | FLOWFS_NO_POOL), SpinPolicy::never);
  EXPECT_EQ(spin_policy(FLOWFS_SPIN_ALWAYS), SpinPolicy::always);
}

TEST(SharesOnlyProcessor, is_so_for_a_thread_bound_like_its_peer) {
  cpu_set_t before;
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (std::size_t cpu = 0; CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &before)) {
      CPU_SET(cpu, &one);
    }
  }
  ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_TRUE(shares_only_processor(::getpid()));
  const bool single = ::sysconf(_SC_NPROCESSORS_ONLN) == 1;
  EXPECT_EQ(shares_only_processor(0), single);
  ASSERT_EQ(::sched_setaffinity(0, sizeof before, &before), 0);
  EXPECT_EQ(shares_only_processor(::getpid()), single || CPU_COUNT(&before) == 1);
}

}  // namespace
}  // namespace flowfs::lib
