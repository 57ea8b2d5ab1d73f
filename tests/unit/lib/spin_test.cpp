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
  // Dense enough to go on so, and not.
  EXPECT_EQ(stream.patience_after(SpinBudget::kMostPatience / SpinBudget::kStream + 1),
            SpinBudget::kMostPatience);
  EXPECT_EQ(stream.patience_after(SpinBudget::kMostPatience / SpinBudget::kStream),
            SpinBudget::kMostPatience / 2);
}

TEST(SpinBudget, is_impatient_where_one_message_comes_at_a_time) {
  Found answers;
  for (int i = 0; i < 4; ++i) {
    answers.patience_after(100);
  }
  EXPECT_EQ(answers.spin.patience(), SpinBudget::kMostPatience / 2);
  for (int i = 0; i < 32; ++i) {
    EXPECT_LE(answers.patience_after(1), SpinBudget::kMostPatience);
  }
  EXPECT_LE(answers.spin.patience(), SpinBudget::kStream);
}

TEST(SpinBudget, loses_its_patience_where_there_is_nothing_at_the_first_look) {
  const auto patient = [] {
    Found stream;
    stream.patience_after(100);
    stream.patience_after(100);
    EXPECT_GT(stream.spin.patience(), SpinBudget::kLeastPatience);
    return stream.spin;
  };
  SpinBudget late = patient();
  int looks = 0;
  EXPECT_TRUE(late.spin([&] { return ++looks == 2; }, 1000));
  EXPECT_TRUE(late.spin([] { return true; }, 2000));
  EXPECT_EQ(late.patience(), SpinBudget::kLeastPatience);
  SpinBudget vain = patient();
  EXPECT_FALSE(vain.spin([] { return false; }, 1000));
  EXPECT_TRUE(vain.spin([] { return true; }, 2000));
  EXPECT_EQ(vain.patience(), SpinBudget::kLeastPatience);
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
